"""How the kernels of tensors are compiled, and kept for other processes."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import numba as nb
from numba.core.caching import FunctionCache

_FILES = ("kernel_cache.py", "tensor_blocks.py", "tensor_kernel.py")
"""Files that the machine code is made from."""
_SOURCES = hashlib.sha256(
    b"".join(Path(__file__).with_name(name).read_bytes() for name in _FILES)
).hexdigest()


class _Cache(FunctionCache):
    """Machine code by the content of the files that it is made from; it may be lost at any time."""

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), _SOURCES)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # What was kept is broken: it is compiled anew.
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


_njit: Any = nb.njit
jit = _njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Decorator of what is compiled into the kernels."""


def named(*parts: Any) -> Any:
    """Compile, under a name of its own, a function that is made several times.

    Numba tells functions apart by their names and a number that it counts up. Two that were kept by
    different processes may have one number: with one name as well, the first would stand for both.
    """

    def name(function: Any) -> Any:
        words = [function.__name__, *(part.__name__.strip("_") for part in parts)]
        function.__name__ = function.__qualname__ = "_".join(words)
        return jit(function)

    return name


def kernel(function: Any) -> Any:
    """Compile at the first call, and keep it for other processes where a folder can be written."""
    dispatcher = _njit(nogil=True, no_cfunc_wrapper=True)(function)
    with contextlib.suppress(RuntimeError, OSError):
        dispatcher._cache = _Cache(function)
    return dispatcher
