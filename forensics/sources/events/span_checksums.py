"""CRC-32C of many short spans of one buffer at once, for the records of an event file.

Event files hold tens of thousands of records of some eighty bytes: a loop over bytes would cost
most of the reading. Spans become the rows of a matrix of four-byte words; leading zero words change
nothing while the register is 0, so that rows of unequal length are padded at their front and start
with a register of all ones where their own bytes begin.
"""

from __future__ import annotations

from functools import cache
from math import inf

import numpy as np
import numpy.typing as npt

from forensics.sources.checksum import BY_PACKAGE, Buffer, crc32c, mask

Words = npt.NDArray[np.uint32]
Positions = npt.NDArray[np.int64]

_LONG = 1024
"""Bytes from which a span is worth a pass of its own."""
_FEW = 24
"""Spans below which a pass over their matrix costs more than one span after the other."""
_FEW_PER_WORD = 16
"""The same for every four bytes of a span, where a package sums each in a microsecond."""
_ROWS = 4096
"""Rows of one pass: their registers stay in the first-level cache."""
_ALL_ONES = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8


@cache
def _tables() -> tuple[Words, Words, Words]:
    """Tables of what a byte, and the low and high half of a word, leave in a register of 0."""

    def registers(trailing: int) -> Words:
        ends = bytes(trailing)
        values = [crc32c(bytes([b]) + ends, _ALL_ONES) ^ _ALL_ONES for b in range(256)]
        return np.array(values, dtype=np.uint32)

    halves = np.arange(1 << 16)
    low = registers(3)[halves & 255] ^ registers(2)[halves >> 8]
    high = registers(1)[halves & 255] ^ registers(0)[halves >> 8]
    return registers(0), low, high


def _next(registers: Words, words: Words) -> Words:
    _, low, high = _tables()
    mixed = registers ^ words
    following: Words = low[mixed & 0xFFFF] ^ high[mixed >> 16]
    return following


def words_at(data: npt.NDArray[np.uint8]) -> Words:
    """View of the little-endian word at every byte of `data` but the last three."""
    words: Words = np.ndarray((max(0, len(data) - 3),), "<u4", data, strides=(1,))
    return words


def _rows(data: npt.NDArray[np.uint8], starts: Positions, lengths: Positions) -> Words:
    """Checksums of spans of similar length."""
    byte, _, _ = _tables()
    whole = lengths >> 2
    width = int(whole.max(initial=0))
    words = words_at(data)
    registers = np.where(whole == width, _ALL_ONES, 0).astype(np.uint32)
    column_start = starts - 4 * (width - whole)
    for column in range(width):
        skip = width - whole - column
        inside = skip <= 0
        if inside.all():
            row = words[column_start + 4 * column]
        else:
            row = np.where(inside, words[np.where(inside, column_start + 4 * column, 0)], 0)
        registers = _next(registers, row.astype(np.uint32))
        registers[skip == 1] = _ALL_ONES
    tails = lengths & 3
    for position in range(int(tails.max(initial=0))):
        left = tails > position
        values = data[starts[left] + 4 * whole[left] + position]
        registers[left] = byte[(registers[left] ^ values) & 0xFF] ^ (registers[left] >> 8)
    return registers ^ np.uint32(_ALL_ONES)


def _few(size: int) -> float:
    """Spans of a size for which no pass over a matrix is worth while."""
    if size >= _LONG:
        return inf
    return max(_FEW, _FEW_PER_WORD * size / 4) if BY_PACKAGE else _FEW


def span_checksums(
    data: npt.NDArray[np.uint8], starts: npt.ArrayLike, lengths: npt.ArrayLike
) -> Words:
    """CRC-32C of ``data[start : start + length]`` for every span.

    Parameters
    ----------
    data : array of uint8, shape (n,)
        Contiguous.
    starts, lengths : array-like of int, shape (m,)
        In bytes; every span lies inside `data`.

    Returns
    -------
    array of uint32, shape (m,)

    Raises
    ------
    ValueError
        A span leaves `data`.
    """
    begin, size = np.asarray(starts, np.int64), np.asarray(lengths, np.int64)
    if begin.size and (begin.min() < 0 or size.min() < 0 or (begin + size).max() > len(data)):
        raise ValueError("a span leaves the buffer")
    found = np.zeros(len(begin), np.uint32)
    # Rows of one pass differ by less than a factor of two, so that padding costs little.
    classes = np.frexp(size)[1]
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        if len(members) < _few(int(size[members[0]])):
            for member in members.tolist():
                start = int(begin[member])
                found[member] = crc32c(data.data[start : start + int(size[member])])
            continue
        for chunk in range(0, len(members), _ROWS):
            some = members[chunk : chunk + _ROWS]
            found[some] = _rows(data, begin[some], size[some])
    return found


def masked(checksums: Words) -> Words:
    """Checksums as TensorFlow stores them beside the data they cover."""
    rotated = (checksums >> np.uint32(15)) | (checksums << np.uint32(17))
    return (rotated + np.uint32(_MASK_DELTA)).astype(np.uint32)


def verified_headers(data: npt.NDArray[np.uint8]) -> Positions:
    """Offsets of every byte of `data` at which a record header (length, its checksum) verifies.

    A chance hit has a probability of 2**-32 per byte.
    """
    words = words_at(data)
    count = len(data) - 11
    # The checksum of a length of 0 is not 0: a hole of zeros holds no header.
    if count <= 0 or not data.any():
        return np.zeros(0, np.int64)
    registers = np.full(count, _ALL_ONES, np.uint32)
    for offset in (0, 4):
        registers = _next(registers, words[offset : offset + count].astype(np.uint32))
    stored = words[8 : 8 + count]
    hits = masked(registers ^ np.uint32(_ALL_ONES)) == stored
    return np.flatnonzero(hits).astype(np.int64)


def header_verifies(header: Buffer) -> bool:
    """Whether 12 bytes are a record's header, by their checksum."""
    return len(header) == 12 and mask(crc32c(header[:8])) == int.from_bytes(header[8:], "little")
