"""The one number in a TensorProto, as in `forensics.sources.events.scalar_tensor`."""

from __future__ import annotations

import numpy as np

from forensics.sources.compiled.build import helper
from forensics.sources.compiled.machine import (
    float32_of,
    load_f32,
    load_f64,
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    unsigned_to_float,
)
from forensics.sources.compiled.wire import field, varint

LEFT, NUMBER, BLOB = 0, 1, 2
"""Left to pure Python; one number; another number of elements, or no real numbers."""

_FIXED64, _FIXED32, _VARINT, _LENGTH = 1, 5, 0, 2
_DTYPES = 32
_LEAST_HALF = 2.0**-24


def _storage() -> np.ndarray:
    """``[dtype]``: bytes of an element, field and wire type of the elements outside the content."""
    table = np.zeros((_DTYPES, 3), np.int64)
    for dtype, width, number, wire in (
        (1, 4, 5, _FIXED32),
        (2, 8, 6, _FIXED64),
        (3, 4, 7, _VARINT),
        (4, 1, 7, _VARINT),
        (5, 2, 7, _VARINT),
        (6, 1, 7, _VARINT),
        (9, 8, 10, _VARINT),
        (10, 1, 11, _VARINT),
        (14, 2, 13, _VARINT),
        (17, 2, 7, _VARINT),
        (19, 2, 13, _VARINT),
        (22, 4, 16, _VARINT),
        (23, 8, 17, _VARINT),
    ):
        table[dtype] = width, number, wire
    return table


_STORAGE = _storage()


@helper
def _single(address, end):
    """1 if a TensorShapeProto describes one element, 0 if not, -1 if it is left."""
    single = 1
    while address < end:
        key, first, address = field(address, end)
        if address < 0:
            return -1
        if key == 3 << 3 and first != 0:
            single = 0
        elif key == 2 << 3 | _LENGTH:
            size, at, last = 0, first, address
            while at < last:
                key, first, at = field(at, last)
                if at < 0:
                    return -1
                if key == 1 << 3:
                    size = first
            if size != 1:
                single = 0
    return single


@helper
def _half(bits):
    """Value of a float16 that is no NaN."""
    sign, exponent, fraction = (bits & 0x8000) << 16, (bits >> 10) & 31, bits & 0x3FF
    if exponent == 0:
        # Subnormal: a multiple of the least one.
        value = float(fraction) * _LEAST_HALF
        return -value if sign else value
    # Wider: another bias of the exponent; that of infinity is all ones.
    wider = 255 if exponent == 31 else exponent + 112
    return float32_of(sign | wider << 23 | fraction << 13)


@helper
def _decode(dtype, bits):
    """Value of an element from its bits: status and number."""
    if dtype == 3:
        return NUMBER, float((bits << 32) >> 32)
    if dtype == 9:
        return NUMBER, float(bits)
    if dtype == 5:
        return NUMBER, float((bits << 48) >> 48)
    if dtype == 6:
        return NUMBER, float((bits << 56) >> 56)
    if dtype == 4:
        return NUMBER, float(bits & 0xFF)
    if dtype == 17:
        return NUMBER, float(bits & 0xFFFF)
    if dtype == 22:
        return NUMBER, float(bits & 0xFFFFFFFF)
    if dtype == 10:
        return NUMBER, 1.0 if bits != 0 else 0.0
    if dtype == 14:
        return NUMBER, float32_of((bits & 0xFFFF) << 16)
    if dtype == 23:
        return NUMBER, unsigned_to_float(bits)
    if (bits & 0x7C00) == 0x7C00 and bits & 0x3FF:
        # What Python makes of the sign and payload of such a NaN depends on its version.
        return LEFT, 0.0
    return NUMBER, _half(bits)


@helper
def _element(dtype, width, address):
    """Value of an element as the content of a tensor holds it."""
    if dtype == 1:
        return NUMBER, load_f32(address)
    if dtype == 2:
        return NUMBER, load_f64(address)
    if width == 1:
        return _decode(dtype, load_u8(address))
    if width == 2:
        return _decode(dtype, load_u16(address))
    if width == 4:
        return _decode(dtype, load_u32(address))
    return _decode(dtype, load_i64(address))


@helper
def _stored(dtype, wanted, key, first, last):
    """Value of a field that holds elements, alone or packed; 0 where it holds none."""
    wire = key & 7
    if wire == _LENGTH:
        if first == last:
            return NUMBER, 0.0
        if wanted == _VARINT:
            bits, after = varint(first, last)
            if after != last:
                return LEFT, 0.0
            return _decode(dtype, bits)
        if last - first != (8 if wanted == _FIXED64 else 4):
            return LEFT, 0.0
        return _element(dtype, last - first, first)
    if wire != wanted:
        return NUMBER, 0.0
    if wire == _VARINT:
        return _decode(dtype, first)
    return _element(dtype, last - first, first)


@helper
def scalar(address, end):
    """Status, and the number in the TensorProto between two addresses."""
    dtype, single, content, content_end = 0, 1, 0, 0
    stored, key_of, first_of, last_of = 0, 0, 0, 0
    while address < end:
        key, first, address = field(address, end)
        if address < 0:
            return LEFT, 0.0
        if key == 1 << 3:
            dtype = first
        elif key == 2 << 3 | _LENGTH:
            found = _single(first, address)
            if found < 0:
                return LEFT, 0.0
            single &= found
        elif key == 4 << 3 | _LENGTH:
            content, content_end = first, address
        elif key >= 5 << 3:
            stored += 1
            key_of, first_of, last_of = key, first, address
    if not 0 < dtype < _DTYPES or _STORAGE[dtype, 0] == 0 or single == 0:
        return BLOB, 0.0
    width = _STORAGE[dtype, 0]
    if content_end > content:
        if content_end - content != width:
            return LEFT, 0.0
        return _element(dtype, width, content)
    if stored == 0:
        return NUMBER, 0.0
    if stored > 1:
        return LEFT, 0.0
    if key_of >> 3 != _STORAGE[dtype, 1]:
        return NUMBER, 0.0
    return _stored(dtype, _STORAGE[dtype, 2], key_of, first_of, last_of)
