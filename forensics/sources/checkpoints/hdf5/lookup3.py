"""Bob Jenkins' lookup3 hash, which HDF5 uses as the checksum of its newer structures.

References
----------
.. [1] B. Jenkins, lookup3.c, May 2006, public domain: ``hashlittle`` with initval 0.
.. [2] HDF5 File Format Specification, version 3.0: "all checksums used in the format are computed
   with the Jenkins' lookup3 algorithm".
"""

from __future__ import annotations

import struct

_MASK = 0xFFFFFFFF


def lookup3(data: bytes | memoryview) -> int:
    """Hash of `data`, 32 bits."""
    count = len(data)
    a = b = c = (0xDEADBEEF + count) & _MASK
    if count == 0:
        return c
    # The last 1..12 bytes are mixed in another way, padded with zeros.
    whole = (count - 1) // 12 * 12
    for x, y, z in struct.iter_unpack("<III", data[:whole]):
        # Jenkins' mix, written out: a call for each rotation takes twice as long.
        c = c + z & _MASK
        b = b + y & _MASK
        a = (a + x - c & _MASK) ^ (c << 4 & _MASK | c >> 28)
        c = c + b & _MASK
        b = (b - a & _MASK) ^ (a << 6 & _MASK | a >> 26)
        a = a + c & _MASK
        c = (c - b & _MASK) ^ (b << 8 & _MASK | b >> 24)
        b = b + a & _MASK
        a = (a - c & _MASK) ^ (c << 16 & _MASK | c >> 16)
        c = c + b & _MASK
        b = (b - a & _MASK) ^ (a << 19 & _MASK | a >> 13)
        a = a + c & _MASK
        c = (c - b & _MASK) ^ (b << 4 & _MASK | b >> 28)
        b = b + a & _MASK
    x, y, z = struct.unpack("<III", bytes(data[whole:]).ljust(12, b"\0"))
    return _final((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)


def _rotated(value: int, count: int) -> int:
    return (value << count | value >> 32 - count) & _MASK


def _final(a: int, b: int, c: int) -> int:
    c = ((c ^ b) - _rotated(b, 14)) & _MASK
    a = ((a ^ c) - _rotated(c, 11)) & _MASK
    b = ((b ^ a) - _rotated(a, 25)) & _MASK
    c = ((c ^ b) - _rotated(b, 16)) & _MASK
    a = ((a ^ c) - _rotated(c, 4)) & _MASK
    b = ((b ^ a) - _rotated(a, 14)) & _MASK
    return ((c ^ b) - _rotated(b, 24)) & _MASK
