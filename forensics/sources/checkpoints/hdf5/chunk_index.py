"""Where the chunks of a dataset lie: all kinds of indexes, read as one list."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from forensics.sources.checkpoints.hdf5.array_index import (
    Numbered,
    extensible_array,
    fixed_array,
)
from forensics.sources.checkpoints.hdf5.btree1 import read_node
from forensics.sources.checkpoints.hdf5.btree2 import read_records
from forensics.sources.checkpoints.hdf5.dataspace import Dataspace
from forensics.sources.checkpoints.hdf5.fields import Fields
from forensics.sources.checkpoints.hdf5.image import Image
from forensics.sources.checkpoints.hdf5.layout import (
    BTREE1,
    BTREE2,
    EXTENSIBLE_ARRAY,
    FIXED_ARRAY,
    IMPLICIT,
    Chunked,
)

_CHUNK_NODE = 1
_PLAIN_RECORDS, _FILTERED_RECORDS = 10, 11


class Chunk(NamedTuple):
    """A chunk: its place, counted in chunks along each axis, and where its bytes lie."""

    place: tuple[int, ...]
    address: int
    stored: int
    mask: int


def chunk_grid(shape: tuple[int, ...], chunk: tuple[int, ...]) -> tuple[int, ...]:
    """Count the chunks along each axis."""
    return tuple(-(-size // step) for size, step in zip(shape, chunk, strict=True))


def read_chunks(
    image: Image, layout: Chunked, space: Dataspace, *, filtered: bool, what: str
) -> list[Chunk]:
    """Read the index of a dataset whose address is defined.

    Raises
    ------
    Damaged
        A chunk is missing, there twice, out of place or not in the file.
    """
    grid = chunk_grid(space.shape, layout.shape)
    expected = math.prod(grid)
    address = layout.address or 0
    if expected > image.size:
        raise image.damaged(address, "missing_chunk", f"{what} promises {expected} chunks")
    index = _Index(image, layout, space, filtered, what)
    chunks: dict[tuple[int, ...], Chunk] = {}
    for chunk in index.chunks():
        if chunk.place in chunks or any(a >= b for a, b in zip(chunk.place, grid, strict=True)):
            raise image.damaged(address, "bad_chunk", f"{what} has a chunk that is out of place")
        image.claim(chunk.address, chunk.stored, what)
        chunks[chunk.place] = chunk
    if len(chunks) != expected:
        detail = f"{what} holds {len(chunks)} of {expected} chunks, the others were never written"
        raise image.damaged(address, "missing_chunk", detail)
    return [chunks[place] for place in sorted(chunks)]


@dataclass(frozen=True, slots=True)
class _Index:
    """An index of any kind."""

    image: Image
    layout: Chunked
    space: Dataspace
    filtered: bool
    what: str

    @property
    def size(self) -> int:
        """Bytes of a chunk that is not filtered."""
        return math.prod(self.layout.shape) * self.layout.element

    @property
    def address(self) -> int:
        """Where the index begins."""
        return self.layout.address or 0

    def chunks(self) -> Iterator[Chunk]:
        """All chunks, in the order of the index."""
        kind = self.layout.index
        if kind == BTREE1:
            return self._older_tree()
        if kind == BTREE2:
            return self._newer_tree()
        if kind == FIXED_ARRAY:
            return self._array(fixed_array(self.image, self.address, self.filtered, self.what))
        if kind == EXTENSIBLE_ARRAY:
            found = extensible_array(self.image, self.address, self.filtered, self.what)
            return self._array(found)
        return self._implied() if kind == IMPLICIT else self._single()

    def _older_tree(self) -> Iterator[Chunk]:
        steps = self.layout.shape
        key_size, most = 16 + 8 * len(steps), 2 * self.image.chunk_k
        waiting: list[tuple[int, int | None]] = [(self.address, None)]
        while waiting:
            address, level = waiting.pop()
            node = read_node(self.image, address, _CHUNK_NODE, level, key_size, most, self.what)
            for key, child in zip(node.keys, node.children, strict=False):
                if node.level:
                    waiting.append((child, node.level - 1))
                    continue
                fields = Fields(self.image, address, key, f"chunk of {self.what}")
                stored, mask = fields.integer(4), fields.integer(4)
                offsets = [fields.integer(8) for _ in steps]
                fields.zeros(8)
                if any(at % step for at, step in zip(offsets, steps, strict=True)):
                    raise fields.damaged("bad_chunk", f"a chunk of {self.what} is out of place")
                place = tuple(at // step for at, step in zip(offsets, steps, strict=True))
                yield Chunk(place, child, stored, mask)

    def _newer_tree(self) -> Iterator[Chunk]:
        kind = _FILTERED_RECORDS if self.filtered else _PLAIN_RECORDS
        rank = len(self.space.shape)
        for record in read_records(self.image, self.address, kind, f"the chunks of {self.what}"):
            start, stored, mask = self._element(record, 8 * rank)
            place = tuple(record.integer(8) for _ in range(rank))
            if start is not None:
                yield Chunk(place, start, stored, mask)

    def _element(self, fields: Fields, after: int) -> tuple[int | None, int, int]:
        """Address, stored size and mask; `after` bytes of the element follow."""
        start = fields.place()
        if not self.filtered:
            return start, self.size, 0
        width = len(fields) - after - 4
        if not 1 <= width <= 8:
            raise fields.damaged("bad_length", f"{fields.what} has entries of another size")
        return start, fields.integer(width), fields.integer(4)

    def _array(self, elements: Iterator[Numbered]) -> Iterator[Chunk]:
        places = _Places(self.space, self.layout.shape)
        for number, fields in elements:
            if number > places.last:
                return
            start, stored, mask = self._element(fields, 0)
            if start is not None:
                yield Chunk(places.of(number), start, stored, mask)

    def _implied(self) -> Iterator[Chunk]:
        places = _Places(self.space, self.layout.shape)
        for number in range(places.last + 1):
            yield Chunk(places.of(number), self.address + number * self.size, self.size, 0)

    def _single(self) -> Iterator[Chunk]:
        layout = self.layout
        if self.filtered and layout.stored is None:
            raise self.image.damaged(self.address, "bad_layout", f"{self.what} states no size")
        stored = self.size if layout.stored is None else layout.stored
        yield Chunk((0,) * len(layout.shape), self.address, stored, layout.mask)


class _Places:
    """Places of chunks by number, as if the dataset had grown as far as it may.

    The axis without a limit, of which there is at most one, counts as the slowest.
    """

    def __init__(self, space: Dataspace, steps: tuple[int, ...]) -> None:
        axes = range(len(steps))
        self._order = sorted(axes, key=lambda axis: space.limits[axis] is not None)
        self._counts = [
            -(-(space.limits[axis] or space.shape[axis]) // steps[axis]) for axis in self._order
        ]
        grid = chunk_grid(space.shape, steps)
        self.last = 0
        for axis, count in zip(self._order, self._counts, strict=True):
            self.last = self.last * count + grid[axis] - 1

    def of(self, number: int) -> tuple[int, ...]:
        """Place of a chunk."""
        place = [0] * len(self._order)
        for axis, count in zip(reversed(self._order), reversed(self._counts), strict=True):
            number, place[axis] = divmod(number, count)
        return tuple(place)
