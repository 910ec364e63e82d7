"""Snappy's raw format, read strictly: what blocks of a table may be compressed with.

See https://github.com/google/snappy/blob/main/format_description.txt.
"""

from __future__ import annotations

from forensics.errors import Damaged
from forensics.sources.wire import varint

_MOST = 22
"""No element yields more bytes per byte: 64 from the three of a copy."""


def decompress(data: bytes, path: str, at: int) -> bytes:
    """Content of one compressed stretch.

    Parameters
    ----------
    data : bytes
        All of it: the length, then literals and copies.
    path : str
        What to call the file in errors.
    at : int
        Where it begins in the file.

    Raises
    ------
    Damaged
        It does not yield exactly what it promises.
    """
    try:
        size, position = varint(data, 0, len(data), path)
    except Damaged as error:
        raise Damaged(path, at, error.kind, error.detail) from None
    if size > _MOST * len(data):
        raise Damaged(path, at, "limit", f"{len(data)} compressed bytes promise {size}")
    out = bytearray()
    while position < len(data):
        start = position
        kind, length, distance, position = _element(data, position)
        if kind == 0:
            fits = length <= len(data) - position
            out += data[position : position + length]
            position += length
        else:
            fits = position <= len(data) and 0 < distance <= len(out)
            if fits:
                _copy(out, distance, length)
        if not fits or len(out) > size:
            detail = "a compressed block leads out of itself"
            raise Damaged(path, at + start, "bad_compression", detail)
    if len(out) != size:
        raise Damaged(path, at, "bad_compression", f"{size} bytes were promised, {len(out)} came")
    return bytes(out)


def _element(data: bytes, position: int) -> tuple[int, int, int, int]:
    """Kind, length, distance (of a copy) of an element, and where it ends; missing bytes are 0."""
    tag = data[position]
    kind, position = tag & 3, position + 1
    if kind == 0:
        length, extra = tag >> 2, max(0, (tag >> 2) - 59)
        if extra:
            length = int.from_bytes(data[position : position + extra], "little")
        return kind, length + 1, 0, position + extra
    if kind == 1:
        low = data[position] if position < len(data) else 0
        return kind, (tag >> 2 & 7) + 4, (tag >> 5) << 8 | low, position + 1
    width = 2 if kind == 2 else 4
    distance = int.from_bytes(data[position : position + width], "little")
    return kind, (tag >> 2) + 1, distance, position + width


def _copy(out: bytearray, distance: int, length: int) -> None:
    """Repeat what came `distance` bytes ago; the copy may reach into itself."""
    start = len(out) - distance
    if distance >= length:
        out += out[start : start + length]
    else:
        pattern = bytes(out[start:])
        out += (pattern * (length // distance + 1))[:length]
