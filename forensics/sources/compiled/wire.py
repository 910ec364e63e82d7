"""Fields of a protobuf message at an address, as in `forensics.sources.wire`.

What is malformed, and groups, which nobody writes, is answered by a next address of -1: those
messages are left to pure Python.
"""

from __future__ import annotations

from forensics.sources.compiled.build import helper
from forensics.sources.compiled.machine import load_u8


@helper
def varint(address, end):
    """64 bits of a varint, and the address after it, -1 where it is cut off or too long."""
    value, shift = 0, 0
    while address < end and shift < 70:
        byte = load_u8(address)
        address += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, address
        shift += 7
    return 0, -1


@helper
def field(address, end):
    """Key, value or first address of the payload, address after it (-1: left to pure Python)."""
    key = load_u8(address)
    address += 1
    if key >= 0x80:
        key, address = varint(address - 1, end)
        if address < 0 or key < 0:
            return 0, 0, -1
    if not 8 <= key < 1 << 32:
        return 0, 0, -1
    wire = key & 7
    if wire == 2:
        if address >= end:
            return 0, 0, -1
        size = load_u8(address)
        address += 1
        if size >= 0x80:
            size, address = varint(address - 1, end)
            if address < 0:
                return 0, 0, -1
        if size < 0 or size > end - address:
            return 0, 0, -1
        return key, address, address + size
    if wire == 0:
        value, address = varint(address, end)
        return key, value, address
    if wire == 1:
        size = 8
    elif wire == 5:
        size = 4
    else:
        return 0, 0, -1
    if size > end - address:
        return 0, 0, -1
    return key, address, address + size
