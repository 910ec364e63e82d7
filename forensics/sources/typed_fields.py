"""Fields of a protobuf message whose types are known: a field of another type is damage."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from forensics.errors import Damaged
from forensics.sources import wire
from forensics.sources.wire import FIXED32, LENGTH, VARINT


class Field(NamedTuple):
    """One field: number, wire type, and value (varint) or beginning, and end."""

    number: int
    wire_type: int
    first: int
    last: int


def fields(data: bytes, span: tuple[int, int], path: str) -> Iterator[Field]:
    """Fields of the message in ``data[span[0]:span[1]]``, in their order.

    Raises
    ------
    Damaged
        It is no protobuf message.
    """
    for field in wire.fields(data, *span, path):
        yield Field(*field)


def number_field(field: Field, path: str) -> int:
    """Value of a field that must be a varint."""
    if field.wire_type != VARINT:
        raise Damaged(path, field.first, "bad_wire", "a number is not stored as one")
    return field.first


def fixed32_field(field: Field, data: bytes, path: str) -> int:
    """Value of a field that must be a fixed32."""
    if field.wire_type != FIXED32:
        raise Damaged(path, field.last, "bad_wire", "a checksum is not stored as one")
    (value,) = struct.unpack_from("<I", data, field.first)
    return int(value)


def message_field(field: Field, path: str) -> tuple[int, int]:
    """First and last byte (exclusive) of a field that must be a message."""
    if field.wire_type != LENGTH:
        raise Damaged(path, field.last, "bad_wire", "a message is not stored as one")
    return field.first, field.last


def text_field(field: Field, data: bytes, path: str) -> str:
    """Value of a field that must be UTF-8 text."""
    start, end = message_field(field, path)
    try:
        return data[start:end].decode()
    except UnicodeDecodeError:
        raise Damaged(path, start, "bad_text", "a text is not UTF-8") from None
