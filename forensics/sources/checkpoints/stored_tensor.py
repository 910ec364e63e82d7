"""A tensor of a checkpoint before it is read: what it claims to be, and how to get its bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from forensics.sources.checkpoints.dtypes import NOT_NUMERIC

PIECE = 1 << 20
"""Bytes of a tensor that are held at once, at most; a multiple of every element's width."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Elements that have not been read.

    Parameters
    ----------
    name : str
        As the format names it.
    shape : tuple of int
        Checked against the stored size.
    dtype : str
        Name of a NumPy or ml_dtypes dtype; ``string`` and ``opaque`` have no numbers to read.
    pieces : callable
        Yields the little-endian elements in C order, at most `PIECE` bytes at a time, straight from
        the file where it is mapped. Raises `Damaged`: as soon as bytes are missing, and after the
        last piece where a checksum fails, so that nothing counts before it is exhausted. A piece
        may be overwritten by the next one. Of what is not numeric, pieces are the bytes as stored,
        and of what is of variable length each length too: exhausting them verifies it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    pieces: Callable[[], Iterator[memoryview]]

    @property
    def elements(self) -> int:
        """Product of the shape."""
        return math.prod(self.shape)

    @property
    def numeric(self) -> bool:
        """Whether its bytes are numbers of one width, one after the other."""
        return self.dtype not in NOT_NUMERIC
