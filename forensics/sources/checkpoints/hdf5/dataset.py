"""A dataset: from its header to a tensor that can be read in pieces."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from forensics.sources.checkpoints.hdf5.attributes import AttributeReader
from forensics.sources.checkpoints.hdf5.chunk_index import read_chunks
from forensics.sources.checkpoints.hdf5.dataspace import Dataspace, read_dataspace
from forensics.sources.checkpoints.hdf5.datatype import OPAQUE, Datatype
from forensics.sources.checkpoints.hdf5.elements import (
    SLAB,
    InChunks,
    Pieces,
    in_header,
    in_place,
    rereads,
    swapped,
)
from forensics.sources.checkpoints.hdf5.filters import DEFLATE_RATIO, Pipeline, read_pipeline
from forensics.sources.checkpoints.hdf5.image import Image
from forensics.sources.checkpoints.hdf5.layout import Chunked, Compact, Contiguous, read_layout
from forensics.sources.checkpoints.hdf5.object_header import (
    DATASPACE,
    DATATYPE,
    EXTERNAL,
    FILTERS,
    LAYOUT,
    Header,
    Message,
)
from forensics.sources.checkpoints.hdf5.referred import referred
from forensics.sources.checkpoints.stored_tensor import StoredTensor

_MAX_CHUNK = 256 << 20
_LARGE, _LARGE_RATIO = 1 << 30, 100
"""Bytes from which on a dataset may not be more than so many times as long as what is stored."""
_MAX_REREADS = 16
_STORED_AS_OPAQUE = {"bfloat16": 2}
"""Names that Keras writes in the attribute ``dtype``, where HDF5 has no such numbers."""


def read_dataset(
    image: Image, header: Header, attributes: AttributeReader, name: str, dtype: str | None
) -> tuple[StoredTensor, int]:
    """Check everything that a dataset says of itself; its elements are not read.

    Parameters
    ----------
    dtype : str or None
        Its attribute of this name.

    Returns
    -------
    StoredTensor, int
        The tensor, and how many bytes each of its elements has.

    Raises
    ------
    Damaged
        It contradicts itself, is not whole, lies elsewhere (``refused_storage``), or needs what is
        not known here (``unsupported``).
    """
    what = repr(name)
    if header.first(EXTERNAL) is not None:
        detail = f"{what} lies in another file, it was not read"
        raise image.damaged(header.address, "refused_storage", detail)
    space = read_dataspace(_message(image, header, DATASPACE, what).fields)
    datatype = attributes.datatype(_message(image, header, DATATYPE, what))
    if datatype.name == OPAQUE and dtype and _STORED_AS_OPAQUE.get(dtype) == datatype.size:
        datatype = Datatype(dtype, datatype.size)
    layout = read_layout(_message(image, header, LAYOUT, what).fields)
    filters = header.first(FILTERS)
    pipeline = Pipeline() if filters is None else read_pipeline(filters.fields)
    stored = _Stored(image, header.address, space, datatype, name)
    if isinstance(layout, Chunked):
        pieces = stored.chunked(layout, pipeline)
    elif pipeline.filters:
        raise image.damaged(header.address, "bad_layout", f"{what} has filters and no chunks")
    else:
        pieces = stored.at_once(layout)
    if datatype.big_endian and datatype.size > 1:
        parts = 2 if datatype.name.startswith("complex") else 1
        pieces = swapped(pieces, datatype.size // parts)
    if datatype.unit and datatype.size == 8 + image.offset_size:
        pieces = referred(pieces, image, datatype.unit, what)
    shape = (0,) if space.null else space.shape
    return StoredTensor(name, shape, datatype.name, pieces), datatype.size


@dataclass(frozen=True, slots=True)
class _Stored:
    """What a dataset promises, to be compared with what is stored."""

    image: Image
    address: int
    space: Dataspace
    datatype: Datatype
    name: str

    @property
    def what(self) -> str:
        """What it is called in errors."""
        return repr(self.name)

    @property
    def size(self) -> int:
        """Bytes of all elements."""
        return self.space.count * self.datatype.size

    def at_once(self, layout: Compact | Contiguous) -> Pieces:
        """Elements that lie one after another, in the header or elsewhere."""
        if isinstance(layout, Compact):
            self._expect(len(layout.data))
            return in_header(layout.data)
        if layout.address is None:
            self._expect(0)
        elif layout.size is not None:
            self._expect(layout.size)
        if layout.address is None or not self.size:
            return in_header(memoryview(b""))
        self.image.claim(layout.address, self.size, self.what)
        return in_place(self.image, layout.address, self.size, self.what)

    def _expect(self, stored: int) -> None:
        if stored != self.size:
            detail = f"{self.what} promises {self.size} bytes, {stored} are stored"
            raise self.image.damaged(self.address, "bad_shape", detail)

    def chunked(self, layout: Chunked, pipeline: Pipeline) -> Pieces:
        """Elements in chunks."""
        image, shape, element = self.image, self.space.shape, self.datatype.size
        if len(layout.shape) != len(shape) or layout.element != element or self.space.null:
            detail = f"the chunks of {self.what} do not fit its shape or dtype"
            raise image.damaged(self.address, "bad_layout", detail)
        if not self.size:
            return in_header(memoryview(b""))
        if layout.address is None:
            detail = f"{self.what} promises {self.size} bytes, none was ever written"
            raise image.damaged(self.address, "missing_chunk", detail)
        size = math.prod(layout.shape) * element
        again = rereads(shape, layout.shape, element, SLAB)
        if size > _MAX_CHUNK or again > _MAX_REREADS:
            detail = f"the chunks of {self.what} are too large to be read in bounded memory"
            raise image.damaged(self.address, "limit", detail)
        filtered = bool(pipeline.filters)
        chunks = read_chunks(image, layout, self.space, filtered=filtered, what=self.what)
        self._check_stored(sum(c.stored for c in chunks), len(chunks) * size, pipeline)
        if pipeline.foreign:
            from forensics.sources.checkpoints.hdf5.wall import Request, decoded

            request = Request(image.source, self.address, self.name, shape, element)
            return partial(decoded, request, self.size)
        return InChunks(image, layout, pipeline, shape, chunks, self.what)

    def _check_stored(self, stored: int, whole: int, pipeline: Pipeline) -> None:
        """Refuse what no writer can have stored in so few bytes."""
        if not pipeline.deflates:
            fits = stored >= whole
        else:
            fits = whole <= stored * (_LARGE_RATIO if whole > _LARGE else DEFLATE_RATIO)
        if not fits:
            detail = f"{self.what} promises {whole} bytes, {stored} are stored"
            raise self.image.damaged(self.address, "limit", detail)


def _message(image: Image, header: Header, kind: int, what: str) -> Message:
    message = header.first(kind)
    if message is None:
        raise image.damaged(header.address, "missing_message", f"{what} does not say what it is")
    if message.shared and kind != DATATYPE:
        raise message.fields.damaged("unsupported", f"{what} shares a message")
    return message
