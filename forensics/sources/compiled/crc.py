"""CRC-32C of bytes at an address: by instruction where there is one, else eight bytes by table.

One instruction takes three cycles and another can begin in each: long data is taken in three lanes,
which are joined by advancing the left one over the length of the right one (see `checksum`).
"""

from __future__ import annotations

import numpy as np

from forensics.sources.checksum import byte_table
from forensics.sources.compiled import machine
from forensics.sources.compiled.build import helper
from forensics.sources.compiled.machine import load_i64, load_u8, load_u32

_LANE = 1024
"""Bytes of a lane; joining costs eight look-ups for three of them."""
_ONES = 0xFFFFFFFF


def _slices() -> np.ndarray:
    """``[k, b]``: what byte `b` leaves in a register of 0 after `k` zero bytes."""
    tables = [byte_table()]
    for _ in range(7):
        tables.append(tables[0][tables[-1] & 0xFF] ^ (tables[-1] >> 8))
    return np.array(tables, np.int64)


def _advances(count: int) -> np.ndarray:
    """``[k, b]``: byte `k` of a register, of value `b`, advanced over `count` zero bytes."""
    table = byte_table()
    columns = np.uint32(1) << np.arange(32, dtype=np.uint32)
    for _ in range(count):
        columns = table[columns & 0xFF] ^ (columns >> np.uint32(8))
    found = np.zeros((4, 256), np.int64)
    for byte in range(4):
        for bit in range(8):
            found[byte, 1 << bit : 2 << bit] = found[byte, : 1 << bit] ^ int(
                columns[8 * byte + bit]
            )
    return found


_SLICES = _slices()
_ADVANCE = _advances(_LANE)

if machine.HARDWARE_CRC:
    from forensics.sources.compiled.machine import crc_u8, crc_u32, crc_u64

    @helper
    def _advance(register):
        return (
            _ADVANCE[0, register & 0xFF]
            ^ _ADVANCE[1, (register >> 8) & 0xFF]
            ^ _ADVANCE[2, (register >> 16) & 0xFF]
            ^ _ADVANCE[3, (register >> 24) & 0xFF]
        )

    @helper
    def _lanes(register, address, end):
        """Take as many triples of lanes as there are; answer the register and where they end."""
        while end - address >= 3 * _LANE:
            first, second, third = register, np.int64(0), np.int64(0)
            for offset in range(0, _LANE, 8):
                first = crc_u64(first, load_i64(address + offset))
                second = crc_u64(second, load_i64(address + _LANE + offset))
                third = crc_u64(third, load_i64(address + 2 * _LANE + offset))
            register = _advance(_advance(first) ^ second) ^ third
            address += 3 * _LANE
        return register, address

    @helper
    def crc32c(address, count):
        """CRC-32C of `count` bytes."""
        register, end = np.int64(_ONES), address + count
        if count >= 3 * _LANE:
            register, address = _lanes(register, address, end)
        while end - address >= 8:
            register = crc_u64(register, load_i64(address))
            address += 8
        if end - address >= 4:
            register = crc_u32(register, load_u32(address))
            address += 4
        while address < end:
            register = crc_u8(register, load_u8(address))
            address += 1
        return register ^ _ONES

    @helper
    def crc32c_of_word(address):
        """CRC-32C of eight bytes."""
        return crc_u64(_ONES, load_i64(address)) ^ _ONES

else:

    @helper
    def crc32c(address, count):
        """CRC-32C of `count` bytes."""
        register, end = _ONES, address + count
        while end - address >= 8:
            low = register ^ load_u32(address)
            high = load_u32(address + 4)
            register = (
                _SLICES[7, low & 0xFF]
                ^ _SLICES[6, (low >> 8) & 0xFF]
                ^ _SLICES[5, (low >> 16) & 0xFF]
                ^ _SLICES[4, low >> 24]
                ^ _SLICES[3, high & 0xFF]
                ^ _SLICES[2, (high >> 8) & 0xFF]
                ^ _SLICES[1, (high >> 16) & 0xFF]
                ^ _SLICES[0, high >> 24]
            )
            address += 8
        while address < end:
            register = _SLICES[0, (register ^ load_u8(address)) & 0xFF] ^ (register >> 8)
            address += 1
        return register ^ _ONES

    @helper
    def crc32c_of_word(address):
        """CRC-32C of eight bytes."""
        return crc32c(address, np.int64(8))


@helper
def masked(crc):
    """Checksum as TensorFlow stores it."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & _ONES
