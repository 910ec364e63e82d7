"""safetensors files: a JSON header that names tensors, and their bytes, one after the other.

The format [1]_: eight bytes with the size of the header, little-endian; the header, a JSON object
of ``{name: {"dtype", "shape", "data_offsets"}}`` and a ``__metadata__`` of texts; the buffer, every
byte of which belongs to one tensor. There is no checksum.

References
----------
.. [1] https://github.com/huggingface/safetensors#format; names and sizes of dtypes are those of
   ``safetensors/src/tensor.rs``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from forensics.errors import Damaged
from forensics.sources.checkpoints.file_pieces import file_pieces
from forensics.sources.checkpoints.stored_tensor import StoredTensor
from forensics.sources.checkpoints.strict_json import mapping, parse_object, sizes
from forensics.sources.storage.blob import Blob

SUFFIX = ".safetensors"
_SIZE_BYTES = 8
_MAX_HEADER = 32 << 20
"""Bytes; some 200,000 tensors."""
_MAX_RANK = 254
_METADATA = "__metadata__"
_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32",
    "I32": "int32", "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16",
    "F32": "float32", "F64": "float64", "C64": "complex64", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz", "F4": "opaque", "F6_E2M3": "opaque", "F6_E3M2": "opaque",
}  # fmt: skip
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says about its tensors, and about itself; and what is wrong with its end."""

    tensors: tuple[StoredTensor, ...]
    metadata: Mapping[str, str]
    failure: Damaged | None = None


def read_header(blob: Blob) -> Header:
    """Read the header of a file; its tensors, which stay unread, are in the order of the buffer.

    Of a file that is cut off those are listed that are all there.

    Raises
    ------
    Damaged
        Sizes, offsets, dtypes or shapes contradict each other or the size of the file.
    """
    data, start = _header_bytes(blob)
    header = parse_object(data, blob.name, _SIZE_BYTES)
    metadata = _metadata(header.pop(_METADATA, {}), blob.name)
    entries = sorted(
        (_entry(name, described, blob.name) for name, described in header.items()),
        key=lambda entry: (entry.first, entry.last),
    )
    failure = _check_cover(entries, blob, start)
    there = [entry for entry in entries if start + entry.last <= blob.size]
    return Header(tuple(_stored(entry, blob, start) for entry in there), metadata, failure)


def _header_bytes(blob: Blob) -> tuple[memoryview, int]:
    """Bytes of the header, and where the buffer begins."""
    if blob.size < _SIZE_BYTES:
        raise Damaged(blob.name, blob.size, "truncated", "the file ends within its first number")
    (size,) = struct.unpack("<Q", blob.read(0, _SIZE_BYTES))
    if size > blob.size - _SIZE_BYTES:
        detail = f"a header of {size} bytes is promised, {blob.size - _SIZE_BYTES} bytes are left"
        raise Damaged(blob.name, 0, "bad_length", detail)
    if size > _MAX_HEADER:
        raise Damaged(blob.name, 0, "limit", f"the header takes more than {_MAX_HEADER} bytes")
    data = blob.read(_SIZE_BYTES, size)
    if bytes(data[:1]) != b"{":
        raise Damaged(blob.name, _SIZE_BYTES, "bad_json", "the header does not begin with a brace")
    return data, _SIZE_BYTES + size


def _metadata(value: object, path: str) -> Mapping[str, str]:
    if not isinstance(value, dict) or any(not isinstance(v, str) for v in value.values()):
        raise Damaged(path, _SIZE_BYTES, "bad_metadata", "the metadata are not texts by name")
    return value


@dataclass(frozen=True, slots=True)
class _Entry:
    """A tensor in the header; ``first`` and ``last`` (exclusive) count from the buffer."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    first: int
    last: int


def _entry(name: str, described: Any, path: str) -> _Entry:
    fields = mapping(described)
    dtype, shape, offsets = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    dimensions, span = sizes(shape), sizes(offsets)
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        detail = f"{name!r} is of an unknown dtype ({str(dtype)[:40]!r})"
        raise Damaged(path, _SIZE_BYTES, "bad_dtype", detail)
    if dimensions is None or len(dimensions) > _MAX_RANK:
        raise Damaged(path, _SIZE_BYTES, "bad_shape", f"{name!r} has no valid shape")
    if span is None or len(span) != 2 or span[1] < span[0]:
        raise Damaged(path, _SIZE_BYTES, "bad_offset", f"{name!r} has no valid place")
    bits = math.prod(dimensions) * _BITS[dtype]
    if bits != 8 * (span[1] - span[0]):
        detail = f"{name!r} takes {span[1] - span[0]} bytes, its dtype and shape need {bits} bits"
        raise Damaged(path, _SIZE_BYTES, "bad_shape", detail)
    return _Entry(name, dtype, dimensions, *span)


def _check_cover(entries: list[_Entry], blob: Blob, start: int) -> Damaged | None:
    """Make sure that every byte belongs to one tensor; say where the file ends elsewhere."""
    taken_to = 0
    for entry in entries:
        if entry.first != taken_to:
            kind = "overlap" if entry.first < taken_to else "bad_offset"
            detail = f"{entry.name!r} begins at {entry.first}, what is before it ends at {taken_to}"
            raise Damaged(blob.name, start + taken_to, kind, detail)
        taken_to = entry.last
    if start + taken_to == blob.size:
        return None
    kind = "truncated" if start + taken_to > blob.size else "trailing_bytes"
    detail = f"tensors take {taken_to} bytes, the file holds {blob.size - start} for them"
    return Damaged(blob.name, min(start + taken_to, blob.size), kind, detail)


def _stored(entry: _Entry, blob: Blob, start: int) -> StoredTensor:
    first, last = start + entry.first, start + entry.last
    pieces = partial(file_pieces, blob, first, last - first)
    return StoredTensor(entry.name, entry.shape, _DTYPES[entry.dtype], pieces)
