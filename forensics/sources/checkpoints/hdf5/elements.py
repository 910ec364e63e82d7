"""Bytes of a dataset's elements in C order, in pieces, however they are stored."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from forensics.sources.checkpoints.hdf5.chunk_index import Chunk, chunk_grid
from forensics.sources.checkpoints.hdf5.filters import BadChunk, Pipeline
from forensics.sources.checkpoints.hdf5.image import Image
from forensics.sources.checkpoints.hdf5.layout import Chunked
from forensics.sources.checkpoints.stored_tensor import PIECE

Pieces = Callable[[], Iterator[memoryview]]
Box = tuple[tuple[int, int], ...]

SLAB = 64 << 20
"""Bytes of a chunked dataset that are put together at once."""


def in_place(image: Image, address: int, size: int, what: str) -> Pieces:
    """Elements that lie one after another."""
    return partial(image.pieces, address, size, what)


def in_header(data: memoryview) -> Pieces:
    """Elements in the object header."""
    return lambda: iter([data] if data else [])


def swapped(pieces: Pieces, width: int) -> Pieces:
    """Turn round the bytes of numbers of `width` bytes."""

    def swap() -> Iterator[memoryview]:
        for piece in pieces():
            yield np.frombuffer(piece, f">u{width}").astype(f"<u{width}").view(np.uint8).data

    return swap


class InChunks:
    """Elements in chunks: slabs of at most `SLAB` bytes are put together and cut into pieces.

    Parameters
    ----------
    image : Image
        The file.
    layout : Chunked
        Shape of a chunk.
    pipeline : Pipeline
        What was done to the chunks.
    shape : tuple of int
        Of the dataset.
    chunks : list of Chunk
        All of them, in C order.
    """

    def __init__(
        self,
        image: Image,
        layout: Chunked,
        pipeline: Pipeline,
        shape: tuple[int, ...],
        chunks: list[Chunk],
        what: str,
    ) -> None:
        self._image, self._layout, self._pipeline = image, layout, pipeline
        self._shape, self._chunks, self._what = shape, chunks, what
        self._grid = chunk_grid(shape, layout.shape)
        element = layout.element
        self._dtype = np.dtype(f"u{element}" if element in (1, 2, 4, 8) else f"V{element}")

    def __call__(self) -> Iterator[memoryview]:
        """Yield the elements in C order."""
        for box in slabs(self._shape, self._layout.shape, self._layout.element, SLAB):
            slab = np.empty([high - low for low, high in box], self._dtype)
            for chunk in self._within(box):
                self._place(slab, box, chunk)
            whole = memoryview(slab.reshape(-1).view(np.uint8).data)
            for start in range(0, len(whole), PIECE):
                yield whole[start : start + PIECE]

    def _within(self, box: Box) -> Iterator[Chunk]:
        """Chunks that share elements with a box."""
        steps = self._layout.shape
        ranges = [
            range(low // step, (high - 1) // step + 1)
            for (low, high), step in zip(box, steps, strict=True)
        ]
        for place in itertools.product(*ranges):
            number = 0
            for at, count in zip(place, self._grid, strict=True):
                number = number * count + at
            yield self._chunks[number]

    def _place(self, slab: npt.NDArray[Any], box: Box, chunk: Chunk) -> None:
        steps = self._layout.shape
        content = self._content(chunk).reshape(steps)
        target, source = [], []
        for (low, high), at, step in zip(box, chunk.place, steps, strict=True):
            first, last = max(low, at * step), min(high, (at + 1) * step)
            target.append(slice(first - low, last - low))
            source.append(slice(first - at * step, last - at * step))
        slab[tuple(target)] = content[tuple(source)]

    def _content(self, chunk: Chunk) -> npt.NDArray[Any]:
        layout = self._layout
        size = math.prod(layout.shape) * layout.element
        data: bytes | memoryview = self._image.read(chunk.address, chunk.stored, self._what)
        try:
            if not self._is_plain(chunk):
                data = self._pipeline.undo(data, chunk.mask, size)
            elif len(data) != size:
                raise BadChunk(f"it holds {len(data)} of {size} bytes")
        except BadChunk as error:
            detail = f"a chunk of {self._what} is broken: {error}"
            raise self._image.damaged(chunk.address, "bad_chunk", detail) from None
        return np.frombuffer(data, self._dtype)

    def _is_plain(self, chunk: Chunk) -> bool:
        """Whether the filters were left out because the chunk reaches over an edge."""
        if self._layout.whole_edges:
            return False
        edges = zip(chunk.place, self._layout.shape, self._shape, strict=True)
        return any((at + 1) * step > size for at, step, size in edges)


def slabs(shape: tuple[int, ...], chunk: tuple[int, ...], element: int, most: int) -> Iterator[Box]:
    """Cover an array by boxes that follow each other in C order.

    Each takes at most `most` bytes, and ends where chunks do as far as that allows.
    """
    row = math.prod(shape[1:]) * element
    if not shape:
        yield ()
    elif row > most:
        for index in range(shape[0]):
            for below in slabs(shape[1:], chunk[1:], element, most):
                yield ((index, index + 1), *below)
    else:
        rows = max(1, most // max(1, row))
        if rows >= chunk[0]:
            rows -= rows % chunk[0]
        rest = tuple((0, size) for size in shape[1:])
        for start in range(0, shape[0], rows):
            yield ((start, min(start + rows, shape[0])), *rest)


def rereads(shape: tuple[int, ...], chunk: tuple[int, ...], element: int, most: int) -> int:
    """How often a chunk is read at most, because a slab holds only a part of its rows."""
    times = 1
    for axis, step in enumerate(chunk):
        row = math.prod(shape[axis + 1 :]) * element
        if row <= most:
            rows = max(1, most // max(1, row))
            return times * (1 if rows >= step else -(-step // rows) + 1)
        times *= min(step, shape[axis])
    return times
