"""What a tensor bundle's ``.index`` says about each tensor, checked before anything is read.

Field numbers are those of ``tensorflow/core/protobuf/tensor_bundle.proto``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from forensics.errors import Damaged
from forensics.sources.checkpoints.bundle_table import Table
from forensics.sources.checkpoints.dtypes import NOT_NUMERIC, numpy_dtype
from forensics.sources.typed_fields import (
    Field,
    fields,
    fixed32_field,
    message_field,
    number_field,
)
from forensics.sources.wire import signed

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


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor, or one slice of a partitioned variable.

    ``shard``, ``offset`` and ``size`` say where its bytes lie; ``crc`` is their masked checksum.
    ``at`` is where the index says so. A partitioned variable has ``slices`` and no bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int
    slices: int
    at: int

    @property
    def elements(self) -> int:
        """Product of the shape."""
        return math.prod(self.shape)

    @property
    def numeric(self) -> bool:
        """Whether its bytes are numbers of one width, one after the other."""
        return self.dtype not in NOT_NUMERIC


@dataclass(frozen=True, slots=True)
class BundleIndex:
    """All entries of an index; slices by the name of the variable that they are parts of."""

    shards: int
    entries: tuple[Entry, ...]
    slices: dict[str, tuple[Entry, ...]]

    @property
    def stored(self) -> list[Entry]:
        """Entries that have bytes of their own, in the order of the index."""
        parts = [part for slices in self.slices.values() for part in slices]
        return [entry for entry in self.entries if not entry.slices] + parts


def read_index(data: bytes, path: str) -> BundleIndex:
    """Parse an index.

    Raises
    ------
    Damaged
        Any of it does not hold: framing, checksum, a size that does not fit dtype and shape.
    """
    header, entries = 0, []
    slices: dict[str, list[Entry]] = {}
    for key, start, end in Table(data, path).entries():
        if key == b"":
            header = _shards(data, start, end, path)
        elif key.startswith(b"\x00"):
            entry = _entry(_sliced_name(key, path, start), data, start, end, path)
            slices.setdefault(entry.name, []).append(entry)
        else:
            entries.append(_entry(_text(key, path, start), data, start, end, path))
    if header < 1:
        raise Damaged(path, 0, "no_header", "the index has no bundle header")
    index = BundleIndex(header, tuple(entries), {k: tuple(v) for k, v in slices.items()})
    _check_slices(index, path)
    _check_places(index, path)
    return index


def _shards(data: bytes, start: int, end: int, path: str) -> int:
    shards, endianness = 1, 0
    for field in fields(data, (start, end), path):
        if field.number == 1:
            shards = number_field(field, path)
        elif field.number == 2:
            endianness = number_field(field, path)
    if endianness != 0:
        raise Damaged(path, start, "unsupported", "a big-endian bundle is not read")
    if not 1 <= shards <= 99_999:
        raise Damaged(path, start, "bad_count", f"{shards} data shards are promised")
    return shards


def _entry(name: str, data: bytes, start: int, end: int, path: str) -> Entry:
    dtype = shard = offset = size = crc = slices = 0
    shape: tuple[int, ...] = ()
    for field in fields(data, (start, end), path):
        match field.number:
            case 1:
                dtype = number_field(field, path)
            case 2:
                shape = tuple(_dimensions(field, data, path))
            case 3:
                shard = number_field(field, path)
            case 4:
                offset = number_field(field, path)
            case 5:
                size = number_field(field, path)
            case 6:
                crc = fixed32_field(field, data, path)
            case 7:
                slices += 1
    if dtype not in DTYPES:
        raise Damaged(path, start, "bad_dtype", f"{name!r} is of an unknown dtype ({dtype})")
    if len(shape) > _MAX_RANK:
        raise Damaged(path, start, "bad_shape", f"{name!r} has {len(shape)} dimensions")
    entry = Entry(name, DTYPES[dtype], shape, shard, offset, size, crc, slices, start)
    _check_size(entry, path)
    return entry


def _dimensions(shape: Field, data: bytes, path: str) -> Iterator[int]:
    """Dimensions of a ``TensorShapeProto``; one of unknown rank is no shape of a stored tensor."""
    for field in fields(data, message_field(shape, path), path):
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


def _check_size(entry: Entry, path: str) -> None:
    """Dtype, shape and size must agree; nothing may reach beyond what an offset can say."""
    if entry.offset + entry.size >= 1 << 63:
        raise Damaged(path, entry.at, "bad_offset", f"{entry.name!r} lies beyond any file")
    if entry.slices:
        expected = 0
    elif entry.numeric:
        expected = entry.elements * numpy_dtype(entry.dtype).itemsize
    else:
        # At least a length byte per element.
        if entry.elements > entry.size:
            raise Damaged(path, entry.at, "bad_shape", f"{entry.name!r} is too small for its shape")
        return
    if entry.size != expected:
        raise Damaged(
            path, entry.at, "bad_shape",
            f"{entry.name!r} takes {entry.size} bytes, its dtype and shape need {expected}",
        )  # fmt: skip


def _check_slices(index: BundleIndex, path: str) -> None:
    parents = {entry.name: entry for entry in index.entries if entry.slices}
    for name, parent in parents.items():
        parts = index.slices.get(name, ())
        if len(parts) != parent.slices or sum(p.elements for p in parts) != parent.elements:
            raise Damaged(path, parent.at, "bad_slices", f"the slices of {name!r} do not fill it")
        if any(p.dtype != parent.dtype for p in parts):
            raise Damaged(path, parent.at, "bad_slices", f"the slices of {name!r} differ in dtype")
    for name in index.slices.keys() - parents.keys():
        raise Damaged(path, index.slices[name][0].at, "bad_slices", f"a slice of no {name!r}")


def _check_places(index: BundleIndex, path: str) -> None:
    """No byte of a shard belongs to two tensors."""
    taken: tuple[int, int, str] = (-1, 0, "")
    for entry in sorted(index.stored, key=lambda e: (e.shard, e.offset, e.size)):
        if entry.shard >= index.shards:
            raise Damaged(path, entry.at, "bad_shard", f"{entry.name!r} is in an unknown shard")
        if not entry.size:
            continue
        if entry.shard == taken[0] and entry.offset < taken[1]:
            raise Damaged(path, entry.at, "overlap", f"{entry.name!r} overlaps {taken[2]!r}")
        taken = (entry.shard, entry.offset + entry.size, entry.name)


def _sliced_name(key: bytes, path: str, at: int) -> str:
    """Name in the ordered code of a slice's key: escaped, ended by 00 01, after a number 0."""
    end = key.find(b"\x00\x01", 1)
    if end < 0:
        raise Damaged(path, at, "bad_key", "the key of a slice has no name")
    raw = key[1:end].replace(b"\x00\xff", b"\x00").replace(b"\xff\x00", b"\xff")
    return _text(raw, path, at)


def _text(raw: bytes, path: str, at: int) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Damaged(path, at, "bad_name", "the name of a tensor is not UTF-8") from None
