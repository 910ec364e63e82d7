"""FarmHash's ``Fingerprint64``, with which TensorFlow names the index of a SavedModel's variables.

The function is ``farmhashna::Hash64`` [1]_: all sums and products are modulo 2**64.

References
----------
.. [1] https://github.com/google/farmhash/blob/master/src/farmhash.cc
"""

from __future__ import annotations

import struct

_MASK = (1 << 64) - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
_BLOCK = 64
_SEED = 81

Pair = tuple[int, int]


def fingerprint64(data: bytes) -> int:
    """Fingerprint of bytes, some 5 MB a second.

    Examples
    --------
    >>> hex(fingerprint64(b""))
    '0x9ae16a3b2f90404f'
    """
    if len(data) <= 16:
        return _up_to_16(data)
    if len(data) <= 32:
        return _up_to_32(data)
    if len(data) <= _BLOCK:
        return _up_to_64(data)
    return _long(data)


def _word(data: bytes, at: int) -> int:
    found: int = struct.unpack_from("<Q", data, at)[0]
    return found


def _rotated(value: int, by: int) -> int:
    value &= _MASK
    return (value >> by | value << (64 - by)) & _MASK


def _mixed(value: int) -> int:
    value &= _MASK
    return value ^ value >> 47


def _joined(u: int, v: int, multiplier: int) -> int:
    a = _mixed((u ^ v) * multiplier)
    return _mixed((v ^ a) * multiplier) * multiplier & _MASK


def _up_to_16(data: bytes) -> int:
    size = len(data)
    multiplier = _K2 + size * 2
    if size >= 8:
        a, b = _word(data, 0) + _K2 & _MASK, _word(data, size - 8)
        c = _rotated(b, 37) * multiplier + a & _MASK
        d = (_rotated(a, 25) + b) * multiplier & _MASK
        return _joined(c, d, multiplier)
    if size >= 4:
        first, last = struct.unpack_from("<I", data)[0], struct.unpack_from("<I", data, size - 4)[0]
        return _joined(size + (first << 3), last, multiplier)
    if size:
        y = data[0] + (data[size >> 1] << 8)
        z = size + (data[-1] << 2)
        return _mixed(y * _K2 ^ z * _K0) * _K2 & _MASK
    return _K2


def _up_to_32(data: bytes) -> int:
    size = len(data)
    multiplier = _K2 + size * 2
    a, b = _word(data, 0) * _K1, _word(data, 8)
    c, d = _word(data, size - 8) * multiplier, _word(data, size - 16) * _K2
    u = _rotated(a + b, 43) + _rotated(c, 30) + d & _MASK
    return _joined(u, a + _rotated(b + _K2, 18) + c & _MASK, multiplier)


def _up_to_64(data: bytes) -> int:
    size = len(data)
    multiplier = _K2 + size * 2
    a, b = _word(data, 0) * _K2, _word(data, 8)
    c, d = _word(data, size - 8) * multiplier, _word(data, size - 16) * _K2
    y = _rotated(a + b, 43) + _rotated(c, 30) + d & _MASK
    z = _joined(y, a + _rotated(b + _K2, 18) + c & _MASK, multiplier)
    e, f = _word(data, 16) * multiplier, _word(data, 24)
    g = (y + _word(data, size - 32)) * multiplier
    h = (z + _word(data, size - 24)) * multiplier
    u = _rotated(e + f, 43) + _rotated(g, 30) + h & _MASK
    return _joined(u, e + _rotated(f + a, 18) + g & _MASK, multiplier)


def _long(data: bytes) -> int:
    size = len(data)
    x, y = _SEED, _SEED * _K1 + 113 & _MASK
    z = _mixed(y * _K2 + 113) * _K2 & _MASK
    v: Pair = (0, 0)
    w: Pair = (0, 0)
    x = x * _K2 + _word(data, 0) & _MASK
    end = (size - 1) // _BLOCK * _BLOCK
    for at in range(0, end, _BLOCK):
        x, y, z, v, w = _round(data, at, (x, y, z), (v, w), _K1, 1)
    rest = (size - 1) & 63
    multiplier = _K1 + ((z & 0xFF) << 1) & _MASK
    first = w[0] + rest & _MASK
    second = v[0] + first & _MASK
    w, v = (first + second & _MASK, w[1]), (second, v[1])
    x, y, z, v, w = _round(data, size - _BLOCK, (x, y, z), (v, w), multiplier, 9)
    return _joined(
        _joined(v[0], w[0], multiplier) + _mixed(y) * _K0 + z & _MASK,
        _joined(v[1], w[1], multiplier) + x & _MASK,
        multiplier,
    )


def _round(
    data: bytes, at: int, xyz: tuple[int, int, int], vw: tuple[Pair, Pair], multiplier: int, by: int
) -> tuple[int, int, int, Pair, Pair]:
    """Take in 64 bytes; the last time with another multiplier, and by nine."""
    (x, y, z), (v, w) = xyz, vw
    words = struct.unpack_from("<8Q", data, at)
    x = _rotated(x + y + v[0] + words[1], 37) * multiplier & _MASK
    y = _rotated(y + v[1] + words[6], 42) * multiplier & _MASK
    x ^= w[1] * by & _MASK
    y = y + v[0] * by + words[5] & _MASK
    z = _rotated(z + w[0], 33) * multiplier & _MASK
    v = _weak(words[:4], v[1] * multiplier, x + w[0])
    w = _weak(words[4:], z + w[1], y + words[2])
    return z, y, x, v, w


def _weak(words: tuple[int, ...], a: int, b: int) -> Pair:
    a += words[0]
    b = _rotated(b + a + words[3], 21)
    c = a
    a += words[1] + words[2]
    b += _rotated(a, 44)
    return a + words[3] & _MASK, b + c & _MASK
