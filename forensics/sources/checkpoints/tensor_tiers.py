"""Which of the two ways blocks are measured: NumPy, or the compiled kernel once it pays.

Both give the same bits, so that it does not matter when the kernel takes over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from forensics.sources.checkpoints import tensor_blocks
from forensics.sources.checkpoints.tensor_blocks import BLOCK, TOGETHER, Totals
from forensics.sources.checkpoints.tensor_encodings import Encoding

Measure = Callable[[npt.NDArray[Any], Encoding, npt.NDArray[np.float64], Totals], None]

PAYS = 150_000_000
"""Elements that NumPy measures in about the time that loading the cached kernel takes (0.45 s)."""


class _Tiers:
    """The kernel, once it was asked for, and how much was measured without it."""

    def __init__(self) -> None:
        self.kernel: Measure | None = None
        self.sought = False
        self.measured = 0

    def expect(self, elements: int) -> None:
        """Load the kernel if so many more elements are to be measured that it pays."""
        if not self.sought and self.measured + elements >= PAYS:
            self.sought = True
            self.kernel = load_kernel()


_TIERS = _Tiers()


def load_kernel() -> Measure | None:
    """Return the compiled kernel, None where it cannot be had."""
    try:
        from forensics.sources.checkpoints.tensor_kernel import measure as compiled
    except (ImportError, RuntimeError, OSError):
        return None
    return compiled


def expect(elements: int) -> None:
    """Say that about so many elements are to be measured, so that the kernel may be loaded."""
    _TIERS.expect(elements)


def measure(
    raw: npt.NDArray[Any],
    encoding: Encoding,
    records: npt.NDArray[np.float64],
    totals: Totals,
) -> None:
    """Measure blocks, the last of which may be shorter.

    Parameters
    ----------
    raw : array of shape (n,)
        Elements as stored, of dtype ``encoding.raw``.
    encoding : Encoding
        What numbers they are.
    records : float64 array of shape (ceil(n / BLOCK), COLUMNS)
        Filled.
    totals : Totals
        Added to.
    """
    _TIERS.measured += len(raw)
    _TIERS.expect(0)
    if _TIERS.kernel is not None:
        _TIERS.kernel(raw, encoding, records, totals)
    else:
        in_numpy(raw, encoding, records, totals)


def in_numpy(
    raw: npt.NDArray[Any],
    encoding: Encoding,
    records: npt.NDArray[np.float64],
    totals: Totals,
) -> None:
    """Measure blocks without the kernel; arguments as in `measure`."""
    for start in range(0, len(raw), TOGETHER):
        values = encoding.widen(raw[start : start + TOGETHER])
        tensor_blocks.measure(values, records[start // BLOCK :], totals)
