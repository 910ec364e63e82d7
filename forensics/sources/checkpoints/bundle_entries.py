"""What a tensor bundle's ``.index`` says about one tensor, checked before anything is read.

Field numbers are those of ``tensorflow/core/protobuf/tensor_bundle.proto``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from forensics.errors import Damaged
from forensics.sources import wire
from forensics.sources.checkpoints.bundle_table import Row
from forensics.sources.checkpoints.dtypes import NOT_NUMERIC, numpy_dtype
from forensics.sources.checkpoints.ordered_code import WHOLE
from forensics.sources.typed_fields import (
    Field,
    fields,
    fixed32_field,
    message_field,
    number_field,
)
from forensics.sources.wire import LENGTH, VARINT, signed

STRING, RESOURCE, VARIANT = 7, 20, 21
# tensorflow/core/framework/types.proto
DTYPES: dict[int, str] = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", STRING: "string",
    8: "complex64", 9: "int64", 10: "bool", 11: "qint8", 12: "quint8", 13: "qint32",
    14: "bfloat16", 15: "qint16", 16: "quint16", 17: "uint16", 18: "complex128", 19: "float16",
    RESOURCE: "resource", VARIANT: "variant", 22: "uint32", 23: "uint64", 24: "float8_e5m2",
    25: "float8_e4m3fn", 26: "float8_e4m3fnuz", 27: "float8_e4m3b11fnuz", 28: "float8_e5m2fnuz",
    29: "int4", 30: "uint4", 31: "int2", 32: "uint2", 33: "float4_e2m1fn",
}  # fmt: skip
_MAX_RANK = 254
"""TensorFlow's own limit on the number of dimensions."""
_MAX_SIZE = 1 << 63
_NUMBERS = (1, 3, 4, 5)
"""Fields of a BundleEntryProto: dtype, shard_id, offset, size."""

Extents = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor, or one slice of a partitioned variable.

    ``shard``, ``offset`` and ``size`` say where its bytes lie; ``crc`` is their masked checksum.
    ``at`` is where the index says so. A partitioned variable has ``slices`` (start and length along
    each axis) and no bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int
    slices: tuple[Extents, ...]
    at: int

    @property
    def elements(self) -> int:
        """Product of the shape."""
        return math.prod(self.shape)

    @property
    def numeric(self) -> bool:
        """Whether its bytes are numbers of one width, one after the other."""
        return self.dtype not in NOT_NUMERIC


class EntryParser:
    """Parses the entries of one index.

    Parameters
    ----------
    path : str
        What to call the index in errors.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._shapes: dict[bytes, tuple[int, ...]] = {}

    def parse(self, name: str, row: Row) -> Entry:
        """Return an entry whose dtype, shape and size agree.

        Raises
        ------
        Damaged
            They do not, or it is no such message.
        """
        try:
            return self._parse(name, row)
        except Damaged as error:
            if row.start == row.at:
                raise
            # Offsets in a block that was compressed say nothing about the file.
            raise Damaged(self._path, row.at, error.kind, error.detail) from None

    def _parse(self, name: str, row: Row) -> Entry:
        path, data, numbers = self._path, row.data, {}
        shape: tuple[int, ...] = ()
        crc, slices = 0, []
        for number, wire_type, first, last in wire.fields(data, row.start, row.end, path):
            if number in _NUMBERS:
                if wire_type != VARINT:
                    raise Damaged(path, first, "bad_wire", "a number is not stored as one")
                numbers[number] = first
            elif number == 2:
                shape = self._shape(data, Field(number, wire_type, first, last))
            elif number == 6:
                crc = fixed32_field(Field(number, wire_type, first, last), data, path)
            elif number == 7:
                slices.append(extents_of(data, Field(number, wire_type, first, last), path))
        dtype, shard, offset, size = (numbers.get(n, 0) for n in _NUMBERS)
        if dtype not in DTYPES:
            raise Damaged(path, row.at, "bad_dtype", f"{name!r} is of an unknown dtype ({dtype})")
        entry = Entry(name, DTYPES[dtype], shape, shard, offset, size, crc, tuple(slices), row.at)
        self._check(entry)
        return entry

    def _shape(self, data: bytes, field: Field) -> tuple[int, ...]:
        """Shape in a ``TensorShapeProto``; the same bytes are parsed once."""
        span = message_field(field, self._path)
        raw = data[span[0] : span[1]]
        shape = self._shapes.get(raw)
        if shape is None:
            shape = self._shapes[raw] = tuple(dimensions(data, span, self._path))
            if len(shape) > _MAX_RANK:
                detail = f"a tensor has {len(shape)} dimensions"
                raise Damaged(self._path, span[0], "bad_shape", detail)
        return shape

    def _check(self, entry: Entry) -> None:
        """Dtype, shape and size must agree; nothing may reach beyond what an offset can say."""
        if entry.offset + entry.size >= _MAX_SIZE:
            raise self._bad(entry, "bad_offset", "lies beyond any file")
        if entry.slices:
            expected = 0
        elif entry.numeric:
            expected = entry.elements * numpy_dtype(entry.dtype).itemsize
        else:
            # At least a length byte per element.
            if entry.elements > entry.size:
                raise self._bad(entry, "bad_shape", "is too small for its shape")
            return
        if entry.size != expected:
            need = f"takes {entry.size} bytes, its dtype and shape need {expected}"
            raise self._bad(entry, "bad_shape", need)

    def _bad(self, entry: Entry, kind: str, what: str) -> Damaged:
        return Damaged(self._path, entry.at, kind, f"{entry.name!r} {what}")


def dimensions(data: bytes, span: tuple[int, int], path: str) -> Iterator[int]:
    """Dimensions of a ``TensorShapeProto``; one of unknown rank is no shape of a stored tensor."""
    for field in fields(data, span, path):
        if field.number == 3 and number_field(field, path):
            raise Damaged(path, field.last, "bad_shape", "a stored tensor has no shape")
        if field.number != 2:
            continue
        size = 0
        for part in fields(data, message_field(field, path), path):
            if part.number == 1:
                size = signed(number_field(part, path))
        if size < 0:
            raise Damaged(path, field.last, "bad_shape", f"a dimension is {size}")
        yield size


def extents_of(data: bytes, field: Field, path: str) -> Extents:
    """Start and length along each axis of a ``TensorSliceProto``."""
    found = []
    for extent in fields(data, message_field(field, path), path):
        if extent.number != 1 or extent.wire_type != LENGTH:
            continue
        start, length = 0, WHOLE
        for part in fields(data, message_field(extent, path), path):
            if part.wire_type == VARINT and part.number == 1:
                start = signed(part.first)
            elif part.wire_type == VARINT and part.number == 2:
                length = signed(part.first)
        found.append((start, length))
    return tuple(found)
