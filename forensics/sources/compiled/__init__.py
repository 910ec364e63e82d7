"""Kernels that numba compiles: they may be missing, and answer what pure Python answers."""
