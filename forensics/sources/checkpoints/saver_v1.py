"""TensorFlow's first format of checkpoints: one table that holds tensors as protobuf messages.

``tf.train.Saver`` wrote it until 2016 and does so still when asked for ``write_version=V1``. Field
numbers are those of ``tensorflow/core/util/saved_tensor_slice.proto`` and of
``tensorflow/core/framework/tensor.proto``; blocks of the table carry checksums.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from forensics.domain.run import CheckpointFormat
from forensics.errors import Damaged
from forensics.sources.checkpoints.bundle_entries import (
    DTYPES,
    Entry,
    Extents,
    dimensions,
    extents_of,
)
from forensics.sources.checkpoints.bundle_index import BundleIndex
from forensics.sources.checkpoints.bundle_meaning import BundleMeaning
from forensics.sources.checkpoints.bundle_slices import Slice, Stream, joined, slices_of
from forensics.sources.checkpoints.bundle_table import FOOTER_BYTES, Row, Table, is_table_file
from forensics.sources.checkpoints.checkpoint_format import Claim, OpenCheckpoint
from forensics.sources.checkpoints.dtypes import numpy_dtype
from forensics.sources.checkpoints.ordered_code import WHOLE, slice_key
from forensics.sources.checkpoints.stored_tensor import PIECE, StoredTensor
from forensics.sources.storage.blob import IN_MEMORY, NotRegular
from forensics.sources.storage.place import Place
from forensics.sources.typed_fields import (
    Field,
    fields,
    message_field,
    number_field,
    text_field,
)
from forensics.sources.wire import LENGTH, VARINT, varint

_NAME = re.compile(r"(^|/)[^/]*(ckpt|-\d+$|-\d{5}-of-\d{5}$)[^/]*$")
_OTHERS = (".meta", ".index", ".json", ".txt", ".md", ".h5", ".keras")
_FIXED = {"float32": 5, "float64": 6, "complex64": 9, "complex128": 12}
"""Fields of a TensorProto whose packed bytes are the elements themselves."""
_VARINTS = {"int64": 10, "bool": 11, "float16": 13, "bfloat16": 13, "uint32": 16, "uint64": 17}
_SMALL_INTEGERS = 7
_TEXTS = 8


class SaverV1:
    """A file named like the prefix of a bundle, in LevelDB's format of tables."""

    def find(self, names: Sequence[str], place: Place) -> Iterable[Claim]:
        """Claim what has such a name and ends like a table."""
        named = [n for n in names if _NAME.search(n) and not n.endswith(_OTHERS)]
        place.expect(named, FOOTER_BYTES)
        for name in named:
            if _is_table(name, place):
                yield Claim(name, CheckpointFormat.TENSOR_BUNDLE, (name,))

    def fill(self, checkpoint: OpenCheckpoint) -> None:
        """Verify the table and list its tensors."""
        name = checkpoint.claim.name
        data = checkpoint.blob(name, checkpoint.claim.format.value).whole
        if data is None:
            raise Damaged(name, 0, "limit", f"a table of more than {IN_MEMORY} bytes is not read")
        rows = {row.key: row for row in Table(data, name).entries()}
        if b"" not in rows:
            raise Damaged(name, 0, "no_header", "the table does not say what it holds")
        entries = list(_described(rows[b""], name))
        for entry in entries:
            try:
                checkpoint.stored.append(_stored(entry, rows, name))
            except Damaged as error:
                checkpoint.contents.fail(error)
        checkpoint.judge = BundleMeaning(BundleIndex(1, tuple(entries), {}), None, name)


def _is_table(name: str, place: Place) -> bool:
    """Whether it is one; archives and pickles under such a name are not read for it."""
    try:
        with place.open(name) as blob:
            other = blob.head(1) in (b"P", b"\x80")
    except (OSError, NotRegular):
        return False
    return not other and is_table_file(name, place)


def _described(row: Row, path: str) -> Iterator[Entry]:
    """Tensors in a ``SavedTensorSliceMeta``, with their slices."""
    data = row.data
    for meta in fields(data, (row.start, row.end), path):
        if meta.number != 1:
            continue
        for tensor in fields(data, message_field(meta, path), path):
            if tensor.number == 1:
                yield _entry(data, message_field(tensor, path), path)


def _entry(data: bytes, span: tuple[int, int], path: str) -> Entry:
    name, dtype = "", 0
    shape: tuple[int, ...] = ()
    slices: list[Extents] = []
    for field in fields(data, span, path):
        if field.number == 1:
            name = text_field(field, data, path)
        elif field.number == 2:
            shape = tuple(dimensions(data, message_field(field, path), path))
        elif field.number == 3:
            dtype = number_field(field, path)
        elif field.number == 4:
            slices.append(extents_of(data, field, path))
    if dtype not in DTYPES:
        raise Damaged(path, span[0], "bad_dtype", f"{name!r} is of an unknown dtype ({dtype})")
    # A tensor that is not cut has one slice, all of it; a single number has one of no axes.
    whole = (tuple((0, WHOLE) for _ in shape),)
    return Entry(name, DTYPES[dtype], shape, 0, 0, 0, 0, tuple(slices) or whole, span[0])


def _stored(entry: Entry, rows: dict[bytes, Row], path: str) -> StoredTensor:
    """Check that all slices of a tensor are there and hold as many elements as they should."""
    parts: list[tuple[Extents, Entry]] = []
    contents: dict[tuple[int, ...], memoryview] = {}
    for extents in entry.slices:
        row = rows.get(slice_key(entry.name, extents))
        if row is None:
            raise Damaged(path, entry.at, "bad_slices", f"a slice of {entry.name!r} is not there")
        shape = tuple(
            size if length == WHOLE else length
            for (_, length), size in zip(extents, entry.shape, strict=False)
        )
        part = Entry(entry.name, entry.dtype, shape, 0, 0, 0, 0, (), row.at)
        contents[tuple(start for start, _ in extents)] = _elements(part, row, path)
        parts.append((extents, part))
    slices = slices_of(entry, parts, path)
    ordered = [contents[part.start] for part in slices]
    return StoredTensor(
        entry.name, entry.shape, entry.dtype, partial(_pieces, entry, slices, ordered)
    )


def _pieces(
    entry: Entry, slices: Sequence[Slice], contents: Sequence[memoryview]
) -> Iterator[memoryview]:
    if len(slices) > 1 and entry.numeric:
        streams = [_stream(content) for content in contents]
        yield from joined(entry.shape, numpy_dtype(entry.dtype).itemsize, slices, streams)
        return
    for content in contents:
        for start in range(0, len(content), PIECE):
            yield content[start : start + PIECE]


def _stream(content: memoryview) -> Stream:
    done = 0

    def read(count: int) -> memoryview:
        nonlocal done
        done += count
        return content[done - count : done]

    return Stream(read, lambda: None)


def _elements(part: Entry, row: Row, path: str) -> memoryview:
    """Elements of a slice as little-endian bytes; of texts, the message that holds them."""
    for saved in fields(row.data, (row.start, row.end), path):
        if saved.number != 2:
            continue
        for field in fields(row.data, message_field(saved, path), path):
            if field.number == 3:
                return _values(part, row.data, message_field(field, path), path)
    raise Damaged(path, row.at, "no_values", f"a slice of {part.name!r} holds nothing")


def _values(part: Entry, data: bytes, span: tuple[int, int], path: str) -> memoryview:
    found = bytearray()
    numbers: list[int] = []
    count = 0
    number = _FIXED.get(part.dtype) or _VARINTS.get(part.dtype, _SMALL_INTEGERS)
    for field in fields(data, span, path):
        if part.numeric and field.number == number:
            if part.dtype in _FIXED:
                if field.wire_type == VARINT:
                    raise Damaged(path, field.last, "bad_wire", "a float is not stored as one")
                found += data[field.first : field.last]
            else:
                numbers.extend(_varints(field, data, path))
        elif not part.numeric and field.number == _TEXTS:
            count += 1
    if not part.numeric:
        found = bytearray(data[span[0] : span[1]])
    else:
        dtype = numpy_dtype(part.dtype)
        if numbers:
            found = bytearray(_as_elements(numbers, dtype.itemsize))
        count = len(found) // dtype.itemsize
    if count != part.elements:
        detail = f"a slice of {part.name!r} holds {count} elements of {part.elements}"
        raise Damaged(path, span[0], "bad_shape", detail)
    return memoryview(bytes(found))


def _varints(field: Field, data: bytes, path: str) -> Iterator[int]:
    """Numbers of a field, packed or alone."""
    if field.wire_type == VARINT:
        yield field.first
        return
    if field.wire_type != LENGTH:
        raise Damaged(path, field.last, "bad_wire", "numbers are not stored as such")
    position = field.first
    while position < field.last:
        value, position = varint(data, position, field.last, path)
        yield value


def _as_elements(numbers: Sequence[int], width: int) -> bytes:
    """Low bytes of each number: a negative one is the two's complement in 64 bits."""
    wide = np.array(numbers, np.uint64).astype("<u8")
    return wide.view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
