"""Kernels that numba compiles: accelerators that may be missing, with the answers of pure Python."""
