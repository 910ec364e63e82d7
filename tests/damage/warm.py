"""Kernels are loaded (compiled, where nothing is kept yet) before children are forked.

They are not chosen by it: small files are still read in pure Python unless a test wants kernels.
"""

from __future__ import annotations

from contextlib import suppress

with suppress(Exception):
    # An accelerator that may be missing.
    import forensics.sources.events.compiled_columns  # noqa: F401
