"""How the elements of each dtype are stored, and what numbers they are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_REGISTERED = 2
"""What NumPy calls a dtype that another package, ml_dtypes, has added."""


class Family(Enum):
    """Dtypes that are widened in the same way."""

    FLOAT = auto()
    """float32 and float64; the parts of complex numbers are two of them."""
    HALF = auto()
    BRAIN = auto()
    """bfloat16: the upper half of a float32."""
    BYTE = auto()
    """One byte whose 256 values are in a table: float8, float4, int4 and int2 unpacked."""
    INTEGER = auto()


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """Elements as they are stored.

    Parameters
    ----------
    family : Family
        How they are widened.
    raw : dtype
        What a buffer of them is viewed as.
    parts : int
        Values per element: two for complex numbers.
    table : float32 array of shape (256,) or None
        Values of a BYTE.
    """

    family: Family
    raw: np.dtype[Any]
    parts: int = 1
    table: npt.NDArray[np.float32] | None = None

    @property
    def table_bits(self) -> npt.NDArray[np.int32]:
        """Bits of the values of a BYTE."""
        if self.table is None:
            raise TypeError("only bytes have a table")
        return self.table.view(np.int32)

    def widen(self, raw: Array) -> npt.NDArray[np.float64]:
        """Values in float64, as a new array."""
        if self.family is Family.BRAIN:
            raw = (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
        elif self.table is not None:
            raw = self.table[raw]
        with np.errstate(invalid="ignore"):  # Signalling NaNs.
            return raw.astype(np.float64)


@cache
def encoding_of(dtype: np.dtype[Any]) -> Encoding:
    """Return the encoding of the elements of a little-endian array.

    Raises
    ------
    TypeError
        They are no numbers.
    """
    if dtype.isbuiltin == _REGISTERED:
        if dtype.name == "bfloat16":
            return Encoding(Family.BRAIN, np.dtype("<u2"))
        if dtype.itemsize == 1:
            table = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float32)
            return Encoding(Family.BYTE, np.dtype(np.uint8), 1, table)
    elif dtype == np.float16:
        return Encoding(Family.HALF, np.dtype("<f2"))
    elif dtype.kind in "fc":
        parts = 1 + (dtype.kind == "c")
        if dtype.itemsize // parts in (4, 8):
            return Encoding(Family.FLOAT, np.dtype(f"<f{dtype.itemsize // parts}"), parts)
    elif dtype.kind in "iub":
        return Encoding(Family.INTEGER, np.dtype(np.uint8) if dtype.kind == "b" else dtype)
    raise TypeError(f"{dtype} is no dtype of numbers")
