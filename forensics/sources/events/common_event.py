"""The layouts in which nearly every scalar is written, matched byte by byte.

TensorFlow writes float32 scalars as the same few bytes around tag and value: as a tensor since
TensorFlow 2, as ``simple_value`` before. Matching them takes a fifth of the time of the general
parser; whatever does not match exactly is left to that one.
"""

from __future__ import annotations

import struct

_HEAD = struct.Struct("<BdB")
_FLOAT = struct.Struct("<f")

_WALL_TIME, _STEP, _SUMMARY, _VALUE, _TAG, _SIMPLE = 0x09, 0x10, 0x2A, 0x0A, 0x0A, 0x15
_TENSOR = (b"\x42\x0a\x08\x01\x12\x00\x22\x04", b"\x42\x0a\x08\x01\x12\x00\x2a\x04")
"""Key and size of ``tensor``, dtype DT_FLOAT, empty shape, key and size of the four bytes."""
_METADATA = b"\x4a\x0b\x0a\x09\x0a\x07scalars"
"""``metadata`` that names the plugin and nothing else."""
_DESCRIPTION = _METADATA[2:]
_SIMPLE_SIZE, _TENSOR_SIZE, _DESCRIBED_SIZE = 5, 12, 12 + len(_METADATA)

Scalars = list[tuple[bytes, float, bytes | None]]


def common_event(data: bytes, start: int, end: int) -> tuple[float, int, Scalars] | None:
    """Wall time, step, and tag, value and metadata of every scalar; None for any other layout.

    ``data[start:end]`` must lie inside `data`.
    """
    if end - start < 12:
        return None
    key, wall_time, following = _HEAD.unpack_from(data, start)
    if key != _WALL_TIME:
        return None
    position, step = start + 10, 0
    if following == _STEP:
        # Six groups of seven bits: larger and negative steps are not common.
        for shift in range(0, 42, 7):
            byte = data[position]
            position += 1
            step |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            if position >= end:
                return None
        else:
            return None
        if position >= end:
            return None
        following = data[position]
        position += 1
    if following != _SUMMARY or position >= end:
        return None
    size = data[position]
    position += 1
    if size >= 0x80:
        if position >= end or data[position] >= 0x80:
            return None
        size = size & 0x7F | data[position] << 7
        position += 1
    if size != end - position:
        return None
    scalars = _scalars(data, position, end)
    return None if scalars is None else (wall_time, step, scalars)


def _scalars(data: bytes, position: int, end: int) -> Scalars | None:
    """Values of a summary, None as soon as one has another layout."""
    found: Scalars = []
    while position < end:
        if end - position < 4 + _SIMPLE_SIZE or data[position] != _VALUE:
            return None
        stop = position + 2 + data[position + 1]
        tag = position + 4
        tag_end = tag + data[position + 3]
        if data[position + 1] >= 0x80 or data[position + 2] != _TAG or stop > end:
            return None
        size = stop - tag_end
        metadata = None
        if size == _DESCRIBED_SIZE:
            if data[tag_end : tag_end + 8] not in _TENSOR:
                return None
            if data[tag_end + _TENSOR_SIZE : stop] != _METADATA:
                return None
            value, metadata = tag_end + 8, _DESCRIPTION
        elif size == _TENSOR_SIZE:
            if data[tag_end : tag_end + 8] not in _TENSOR:
                return None
            value = tag_end + 8
        elif size == _SIMPLE_SIZE and data[tag_end] == _SIMPLE:
            value = tag_end + 1
        else:
            return None
        found.append((data[tag:tag_end], _FLOAT.unpack_from(data, value)[0], metadata))
        position = stop
    return found
