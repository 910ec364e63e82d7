"""The layouts in which nearly every scalar is written, matched eight bytes at a time.

As in `forensics.sources.events.common_event`: float32 as a tensor, with or without the metadata of
the scalars plugin, or as ``simple_value``. Anything else is left to the parser of `event`.
"""

from __future__ import annotations

import numpy as np

from forensics.sources.compiled.build import helper
from forensics.sources.compiled.layout import MAX_VALUES, SCALAR, keep_value
from forensics.sources.compiled.machine import load_f32, load_f64, load_i64, load_u8


def _word(text: bytes) -> int:
    return int.from_bytes(text, "little", signed=True)


_CONTENT = _word(b"\x42\x0a\x08\x01\x12\x00\x22\x04")
"""Key and size of ``tensor``, dtype DT_FLOAT, empty shape, key and size of ``tensor_content``."""
_FLOATS = _word(b"\x42\x0a\x08\x01\x12\x00\x2a\x04")
"""The same with packed ``float_val``."""
_METADATA = b"\x4a\x0b\x0a\x09\x0a\x07scalars"
_METADATA_HEAD, _METADATA_TAIL = _word(_METADATA[:8]), _word(_METADATA[-8:])
_DESCRIBED, _TENSOR, _SIMPLE = 12 + len(_METADATA), 12, 5
_MOST_STEP_BYTES = 6


@helper
def _size(address):
    """Read a size of one or two bytes, and where it ends; -1 if it is longer."""
    size = load_u8(address)
    if size < 0x80:
        return size, address + 1
    more = load_u8(address + 1)
    if more >= 0x80:
        return -1, address
    return size & 0x7F | more << 7, address + 2


@helper
def _scalar(address, end, values, count):
    """Take the value of a summary at `address` apart; the address after it, or -1."""
    if load_u8(address) != 0x0A or count >= MAX_VALUES:
        return -1
    size, start = _size(address + 1)
    stop = start + size
    if size < 4 or stop > end or load_u8(start) != 0x0A:
        return -1
    size, tag = _size(start + 1)
    tag_end = tag + size
    size_left = stop - tag_end
    if size < 0 or size_left < _SIMPLE:
        return -1
    metadata, metadata_end, kind = np.int64(0), np.int64(0), np.int64(SCALAR)
    if size_left == _SIMPLE:
        if load_u8(tag_end) != 0x15:
            return -1
        number = load_f32(tag_end + 1)
    elif size_left != _TENSOR and size_left != _DESCRIBED:
        return -1
    else:
        head = load_i64(tag_end)
        if head != _CONTENT and head != _FLOATS:
            return -1
        number = load_f32(tag_end + 8)
        if size_left == _DESCRIBED:
            if load_i64(tag_end + 12) != _METADATA_HEAD or load_i64(stop - 8) != _METADATA_TAIL:
                return -1
            metadata, metadata_end = tag_end + 14, stop
    keep_value(values, count, kind, tag, tag_end, tag_end, stop, metadata, metadata_end, number)
    return stop


@helper
def take_common_apart(address, end, values):
    """Count of values (-1: another layout), step and wall time."""
    if end - address < 20 or load_u8(address) != 0x09:
        return -1, 0, 0.0
    wall_time = load_f64(address + 1)
    address += 9
    step = 0
    if load_u8(address) == 0x10:
        shift = 0
        byte = 0x80
        while byte >= 0x80:
            address += 1
            if shift >= 7 * _MOST_STEP_BYTES or end - address < 8:
                return -1, 0, 0.0
            byte = load_u8(address)
            step |= (byte & 0x7F) << shift
            shift += 7
        address += 1
    if load_u8(address) != 0x2A:
        return -1, 0, 0.0
    size, address = _size(address + 1)
    if size < 0 or size != end - address:
        return -1, 0, 0.0
    count = np.int64(0)
    while address < end:
        if end - address < 9:
            return -1, 0, 0.0
        address = _scalar(address, end, values, count)
        if address < 0:
            return -1, 0, 0.0
        count += 1
    return count, step, wall_time
