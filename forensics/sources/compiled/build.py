"""How kernels are compiled: without the GIL, for given types, kept on disk between processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

helper = numba.njit(
    nogil=True,
    error_model="numpy",
    boundscheck=False,
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
    _nrt=False,
)
"""Decorator of a function that kernels call; compiled with them."""


def kernel(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function that Python calls: compiled or loaded from the cache when defined."""

    def build(function: Callable[..., Any]) -> Any:
        options = {
            "nogil": True,
            "error_model": "numpy",
            "boundscheck": False,
            "no_cfunc_wrapper": True,
            "_nrt": False,
        }
        try:
            return numba.njit(signature, cache=True, **options)(function)
        except RuntimeError:
            # There is no folder that the cache could be written to.
            return numba.njit(signature, **options)(function)

    return build
