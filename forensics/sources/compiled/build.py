"""How kernels are compiled: without the GIL, for given types, kept on disk between processes.

Numba keeps machine code beside the source, or in the user's cache folder where that is read-only,
by the CPU and its features. What it does not know is that a kernel is made of several files: the
digest of all of them is part of the key here. Where nothing can be kept, kernels are compiled anew
by each process, which takes seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import typeinfer
from numba.core.caching import FunctionCache

_njit: Any = numba.njit
_OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False, "_nrt": False}

helper = _njit(**_OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Decorator of a function that kernels call, and nobody else: Python finds no way into it.

Numba compiles a helper once more for every constant that it is called with: constants are wrapped
in ``np.int64`` where that would cost.
"""


def _digest() -> str:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


_SOURCES = _digest()


class _Cache(FunctionCache):
    """Machine code by the content of all files of this folder too."""

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), _SOURCES)


def kernel(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function that Python calls: compiled, or loaded, when it is defined."""

    def build(function: Callable[..., Any]) -> Any:
        try:
            return _compiled(function, signature, _Cache(function))
        except Exception:
            # No folder can be written to, the disk is full, what was kept is broken, ...
            return _compiled(function, signature, None)

    return build


def _compiled(function: Callable[..., Any], signature: str, cache: Any) -> Any:
    dispatcher = _njit(**_OPTIONS, no_cfunc_wrapper=True)(function)
    if cache is not None:
        dispatcher._cache = cache
    with typeinfer.register_dispatcher(dispatcher):
        dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher
