"""Which of two ways event files are read: pure Python, or kernels once loading them pays.

Results are the same. Loading kernels costs half a second, and some seconds where they have to be
compiled first (once per machine): small log directories are read sooner without.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from types import ModuleType

PAYS = 10 << 20
"""Bytes that pure Python reads in about twice the time that loading kept kernels takes."""
SWITCH = "FORENSICS_JIT"
"""Environment variable: 0 leaves kernels out, 1 uses them for everything."""


class Tier(StrEnum):
    """A way of reading event files."""

    BEST = "best"
    """By size; kernels that are loaded are used for everything."""
    PYTHON = "python"
    COMPILED = "compiled"
    """Kernels, if they can be had."""


class _Kernels:
    """The kernels, once they were asked for."""

    module: ModuleType | None = None
    sought = False


def kernels(tier: Tier, pending: int) -> ModuleType | None:
    """Answer the module of the compiled tier if it is to be used and can be had.

    Parameters
    ----------
    tier : Tier
        What the caller wants.
    pending : int
        Bytes that are to be read, as far as is known.
    """
    wanted = os.environ.get(SWITCH)
    if tier is Tier.PYTHON or wanted == "0":
        return None
    if tier is Tier.COMPILED or wanted == "1" or pending >= PAYS:
        _load()
    return _Kernels.module


def _load() -> None:
    if _Kernels.sought:
        return
    _Kernels.sought = True
    if sys.byteorder != "little":
        return
    try:
        from forensics.sources.events import compiled_columns
    except Exception:
        # Not installed, not for this machine, not compilable: an accelerator is never an error.
        return
    _Kernels.module = compiled_columns
