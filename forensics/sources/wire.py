"""Protobuf's wire format: fields of a message within bytes, with every size checked.

See https://protobuf.dev/programming-guides/encoding/. Nothing is copied or decoded here; strings,
messages and packed fields are answered as positions.
"""

from __future__ import annotations

from collections.abc import Iterator

from forensics.errors import Damaged

VARINT, FIXED64, LENGTH, GROUP, END_GROUP, FIXED32 = range(6)

MALFORMED = "bad_wire"
"""Kind of damage: the bytes are no message, so that nothing after them can be trusted."""
_MAX_VARINT = 10
_MAX_GROUPS = 64
"""Nesting of (deprecated) groups that is still skipped."""


def varint(data: bytes, position: int, end: int, path: str = "") -> tuple[int, int]:
    """Unsigned 64-bit varint at `position`, and the position after it.

    Raises
    ------
    Damaged
        It is longer than ten bytes or reaches beyond `end`.
    """
    value = 0
    for index in range(_MAX_VARINT):
        if position >= end:
            raise Damaged(path, position, MALFORMED, "a number is cut off")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
    raise Damaged(path, position, MALFORMED, "a number of more than ten bytes")


def signed(value: int, bits: int = 64) -> int:
    """Two's complement of the low `bits` of an unsigned number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def fields(
    data: bytes, start: int, end: int, path: str = ""
) -> Iterator[tuple[int, int, int, int]]:
    """Fields of the message in ``data[start:end]``, in the order they were written.

    Yields
    ------
    number : int
        Field number.
    wire_type : int
        VARINT, FIXED64, LENGTH or FIXED32; groups are skipped.
    first, last : int
        VARINT: the unsigned value, and the position after it. Else: where the payload begins and
        ends.

    Raises
    ------
    Damaged
        A field is cut off, longer than the message, or of no known wire type.
    """
    position = start
    while position < end:
        key = data[position]
        if key < 0x80:
            position += 1
        else:
            key, position = varint(data, position, end, path)
        number, wire_type = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise Damaged(path, position, MALFORMED, f"field number {number}")
        if wire_type == LENGTH and position < end and data[position] < end - position:
            # Nearly every field: a size of one byte (below 128, or else it would be larger).
            first = position + 1
            if data[position] < 0x80:
                position = first + data[position]
                yield number, LENGTH, first, position
                continue
        if wire_type == GROUP:
            position = _skip_group(data, position, end, path)
            continue
        first, position = _payload(data, position, end, wire_type, path)
        yield number, wire_type, first, position


def _payload(data: bytes, position: int, end: int, wire_type: int, path: str) -> tuple[int, int]:
    """Value (varint) or beginning of a field's payload, and the position after it."""
    if wire_type == VARINT:
        return varint(data, position, end, path)
    if wire_type == LENGTH:
        size, first = varint(data, position, end, path)
    elif wire_type == FIXED64:
        size, first = 8, position
    elif wire_type == FIXED32:
        size, first = 4, position
    else:
        raise Damaged(path, position, MALFORMED, f"wire type {wire_type}")
    if size > end - first:
        detail = f"a field of {size} bytes where {end - first} are left"
        raise Damaged(path, position, MALFORMED, detail)
    return first, first + size


def _skip_group(data: bytes, position: int, end: int, path: str) -> int:
    depth = 1
    while depth:
        key, position = varint(data, position, end, path)
        wire_type = key & 7
        if wire_type == GROUP:
            depth += 1
            if depth > _MAX_GROUPS:
                raise Damaged(path, position, MALFORMED, "groups nested too deep")
        elif wire_type == END_GROUP:
            depth -= 1
        else:
            _, position = _payload(data, position, end, wire_type, path)
    return position
