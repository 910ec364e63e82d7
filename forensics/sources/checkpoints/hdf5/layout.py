"""The layout message: where the elements of a dataset lie."""

from __future__ import annotations

from dataclasses import dataclass, field

from forensics.sources.checkpoints.hdf5.fields import Fields

_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = range(4)
_MAX_RANK = 33
SINGLE, IMPLICIT, FIXED_ARRAY, EXTENSIBLE_ARRAY, BTREE2, BTREE1 = 1, 2, 3, 4, 5, 0
_EDGES_UNFILTERED, _SINGLE_FILTERED = 1, 2


@dataclass(frozen=True, slots=True)
class Compact:
    """Elements in the object header itself."""

    data: memoryview
    address: int


@dataclass(frozen=True, slots=True)
class Contiguous:
    """Elements one after another; None where none was ever written. No size in old versions."""

    address: int | None
    size: int | None


@dataclass(frozen=True, slots=True)
class Chunked:
    """Elements in chunks of one shape, found by an index.

    Attributes
    ----------
    shape : tuple of int
        Of a chunk.
    element : int
        Bytes of an element.
    index : int
        Kind of the index.
    address : int or None
        Of the index; None where no chunk was ever written.
    stored, mask : int
        Of a single chunk that is filtered.
    whole_edges : bool
        Whether chunks that reach over the edge are filtered like others.
    """

    shape: tuple[int, ...]
    element: int
    index: int
    address: int | None
    stored: int | None = None
    mask: int = 0
    whole_edges: bool = field(default=True)


Layout = Compact | Contiguous | Chunked


def read_layout(fields: Fields) -> Layout:
    """Read a layout message.

    Raises
    ------
    Damaged
        It is none; ``refused_storage`` for a virtual dataset, which lies in other files.
    """
    version = fields.integer(1)
    if version in (1, 2):
        return _old(fields)
    if version not in (3, 4, 5):
        raise fields.damaged("bad_version", f"the layout of {fields.what} is of no known version")
    kind = fields.integer(1)
    if kind == _COMPACT:
        size = fields.integer(2)
        address = fields.address + fields.at
        return Compact(fields.raw(size), address)
    if kind == _CONTIGUOUS:
        return Contiguous(fields.place(), fields.length())
    if kind == _CHUNKED:
        return _chunked(fields) if version == 3 else _indexed(fields)
    if kind == _VIRTUAL:
        detail = f"{fields.what} lies in other files, it was not read"
        raise fields.damaged("refused_storage", detail)
    raise fields.damaged("bad_layout", f"the layout of {fields.what} is of no known class")


def _old(fields: Fields) -> Layout:
    rank, kind = fields.integer(1), fields.integer(1)
    fields.zeros(5)
    if rank > _MAX_RANK:
        raise fields.damaged("bad_layout", f"the layout of {fields.what} has {rank} dimensions")
    address = None if kind == _COMPACT else fields.place()
    sizes = [fields.integer(4) for _ in range(rank)]
    if kind == _CONTIGUOUS:
        return Contiguous(address, None)
    if kind == _CHUNKED:
        return _chunk(fields, sizes, BTREE1, address)
    if kind != _COMPACT:
        raise fields.damaged("bad_layout", f"the layout of {fields.what} is of no known class")
    size = fields.integer(4)
    start = fields.address + fields.at
    return Compact(fields.raw(size), start)


def _chunked(fields: Fields) -> Chunked:
    rank, address = fields.integer(1), fields.place()
    return _chunk(fields, _sizes(fields, rank, 4), BTREE1, address)


def _sizes(fields: Fields, rank: int, width: int) -> list[int]:
    if not 2 <= rank <= _MAX_RANK or not 1 <= width <= 8:
        raise fields.damaged("bad_layout", f"the chunks of {fields.what} have an impossible shape")
    return [fields.integer(width) for _ in range(rank)]


def _chunk(fields: Fields, sizes: list[int], index: int, address: int | None) -> Chunked:
    if len(sizes) < 2 or 0 in sizes:
        raise fields.damaged("bad_layout", f"the chunks of {fields.what} have an impossible shape")
    return Chunked(tuple(sizes[:-1]), sizes[-1], index, address)


def _indexed(fields: Fields) -> Chunked:
    """Chunks with one of the newer indexes, whose parameters are repeated in its own header."""
    flags, rank, width = fields.integer(1), fields.integer(1), fields.integer(1)
    sizes = _sizes(fields, rank, width)
    index = fields.integer(1)
    stored, mask = None, 0
    if index == SINGLE and flags & _SINGLE_FILTERED:
        stored, mask = fields.length(), fields.integer(4)
    elif index == FIXED_ARRAY:
        fields.raw(1)
    elif index == EXTENSIBLE_ARRAY:
        fields.raw(5)
    elif index == BTREE2:
        fields.raw(6)
    elif index not in (SINGLE, IMPLICIT):
        raise fields.damaged("bad_layout", f"the chunks of {fields.what} have no known index")
    chunk = _chunk(fields, sizes, index, fields.place())
    edges = not flags & _EDGES_UNFILTERED
    return Chunked(chunk.shape, chunk.element, index, chunk.address, stored, mask, edges)
