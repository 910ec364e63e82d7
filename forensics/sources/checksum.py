"""CRC-32C of whole buffers: in hardware through the package ``crc32c``, else in NumPy.

The package is a dependency that may be missing (no wheel, no compiler): the answers are the same.
In NumPy, the checksum is linear over GF(2) [1]_: eight-byte words are looked up all at once, then
neighbours are joined pairwise by advancing the left one over the length of the right one. Leading
zero bytes change nothing when the register starts at 0, so that a block is padded at its front.

References
----------
.. [1] RFC 3720, appendix B.4 (the polynomial), and M. Adler's ``crc32_combine`` in zlib (joining).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

try:
    import crc32c as _package
except ImportError:
    _package = None  # type: ignore[assignment]

BY_PACKAGE = _package is not None
"""Whether the package ``crc32c`` sums, with the CPU's own instruction where it has one."""

Words = npt.NDArray[np.uint32]
Buffer = bytes | bytearray | memoryview

_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
_BLOCK = 1 << 18
"""Bytes joined at once: its words and tables stay in the second-level cache."""
_SMALL = 64
"""Bytes below which a plain loop is faster."""


def byte_table() -> Words:
    """Table of what each byte leaves in a register of 0."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table.astype(np.uint32)


_TABLE = byte_table()
_PLAIN: list[int] = [int(entry) for entry in _TABLE]


@cache
def _word_tables() -> tuple[Words, ...]:
    """For each 16-bit half of an eight-byte word: what it adds to the word's checksum."""
    tables = [_TABLE]
    for _ in range(7):
        tables.append(_TABLE[tables[-1] & 0xFF] ^ (tables[-1] >> 8))
    halves = np.arange(1 << 16)
    return tuple(tables[7 - p][halves & 255] ^ tables[6 - p][halves >> 8] for p in (0, 2, 4, 6))


@cache
def _advance_tables(level: int) -> tuple[Words, Words]:
    """Tables of the map "read 8 * 2**level zero bytes", for the low and high half of a register."""
    columns = np.uint32(1) << np.arange(32, dtype=np.uint32)
    if level == 0:
        for _ in range(8):
            columns = _TABLE[columns & 0xFF] ^ (columns >> 8)
    else:
        columns = _advance(level - 1, _advance(level - 1, columns))
    tables = np.zeros((2, 1 << 16), np.uint32)
    for bit in range(16):
        for half in (0, 1):
            tables[half, 1 << bit : 2 << bit] = tables[half, : 1 << bit] ^ columns[16 * half + bit]
    return tables[0], tables[1]


def _advance(level: int, registers: Words) -> Words:
    low, high = _advance_tables(level)
    advanced: Words = low[registers & 0xFFFF] ^ high[registers >> 16]
    return advanced


def _advance_one(register: int, n_bytes: int) -> int:
    for _ in range(n_bytes & 7):
        register = _PLAIN[register & 0xFF] ^ (register >> 8)
    words, level = n_bytes >> 3, 0
    while words:
        if words & 1:
            low, high = _advance_tables(level)
            register = int(low[register & 0xFFFF]) ^ int(high[register >> 16])
        words, level = words >> 1, level + 1
    return register


def _block_register(data: npt.NDArray[np.uint8]) -> int:
    """Register after `data`, started at 0; at most `_BLOCK` bytes."""
    size = 1 << max(3, (len(data) - 1).bit_length())
    if size != len(data):
        padded = np.zeros(size, np.uint8)
        padded[size - len(data) :] = data
        data = padded
    halves = data.view("<u2").reshape(-1, 4)
    tables = _word_tables()
    registers = tables[0][halves[:, 0]]
    for position in (1, 2, 3):
        registers ^= tables[position][halves[:, position]]
    level = 0
    while len(registers) > 1:
        registers = _advance(level, registers[0::2]) ^ registers[1::2]
        level += 1
    return int(registers[0])


def crc32c(data: Buffer, crc: int = 0) -> int:
    """CRC-32C (Castagnoli) of `data`, continuing from the checksum of what came before it.

    Examples
    --------
    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    if _package is not None:
        return int(_package.crc32c(data, crc))
    return crc32c_by_numpy(data, crc)


def crc32c_by_numpy(data: Buffer, crc: int = 0) -> int:
    """CRC-32C without the package, some ten times slower; see `crc32c`."""
    register = crc ^ 0xFFFFFFFF
    if len(data) < _SMALL:
        for byte in bytes(data):
            register = _PLAIN[(register ^ byte) & 0xFF] ^ (register >> 8)
        return register ^ 0xFFFFFFFF
    array = np.frombuffer(data, np.uint8)
    for start in range(0, len(array), _BLOCK):
        block = array[start : start + _BLOCK]
        register = _advance_one(register, len(block)) ^ _block_register(block)
    return register ^ 0xFFFFFFFF


def unmask(masked: int) -> int:
    """Checksum behind a masked one, as TensorFlow and LevelDB store it in files."""
    rotated = (masked - _MASK_DELTA) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def mask(crc: int) -> int:
    """Mask a checksum, so that checksums of data that holds checksums stay sound."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF
