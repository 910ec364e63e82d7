"""Elements of a zarr array in C order, from chunks that are decoded piece by piece.

Where the chunks follow each other in C order they are handed on as they are decoded. Else those
that lie side by side are decoded together, a few rows at a time, and put in order: what is held is
one such band, not the array.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from forensics.errors import Damaged
from forensics.sources.checkpoints.orbax.elements import element
from forensics.sources.checkpoints.orbax.span import Span
from forensics.sources.checkpoints.orbax.streams import ChunkStream
from forensics.sources.checkpoints.orbax.zarr_array import ZarrArray
from forensics.sources.checkpoints.stored_tensor import PIECE

_BAND = 8 << 20
"""Bytes put in order at once, where one row does not take more."""
_MAX_ROW = 64 << 20
_MAX_STREAMS = 512
"""Chunks that are decoded side by side: each holds the window of its decoder."""
_MAX_INDEX = 16 << 20
_NOT_STORED = (1 << 64) - 1

Elements = npt.NDArray[Any]
Find = Callable[[str], Span | None]
"""Answers where the value of a key lies that is relative to the array; None: it is not there."""


class ChunkedArray:
    """Chunks of one array.

    Parameters
    ----------
    array : ZarrArray
        Its metadata.
    find : callable
        Finds a chunk by its key.
    path : str
        What to call it in errors.
    all_stored : bool
        Whether the writer stores chunks too that hold nothing but the fill value: one that is not
        there was lost then.
    """

    def __init__(self, array: ZarrArray, find: Find, path: str, *, all_stored: bool) -> None:
        self._array, self._find, self._path = array, find, path
        self._all_stored = all_stored
        self._shard: tuple[str, Span | None, tuple[int, ...]] | None = None

    def pieces(self) -> Iterator[memoryview]:
        """Yield the elements, little-endian and in C order.

        Raises
        ------
        Damaged
            A chunk is not there, cannot be decoded, or does not hold what it should.
        """
        shape, chunks = self._array.shape, self._array.chunks
        if 0 in shape:
            return
        lead = next((i for i, c in enumerate(chunks) if c > 1), max(0, len(chunks) - 1))
        outer = [range(n) for n in shape[:lead]]
        for place in itertools.product(*outer):
            yield from self._block(place, lead)

    def _block(self, place: tuple[int, ...], lead: int) -> Iterator[memoryview]:
        """Elements that have the first numbers `place`; axis `lead` comes next."""
        shape, chunks = self._array.shape, self._array.chunks
        if not shape:
            yield from self._straight((), 1, 1)
            return
        row = math.prod(shape[lead + 1 :])
        aligned = shape[lead + 1 :] == chunks[lead + 1 :]
        for number in range(-(-shape[lead] // chunks[lead])):
            rows = min(chunks[lead], shape[lead] - number * chunks[lead])
            if aligned:
                yield from self._straight((*place, number), rows * row, chunks[lead] * row)
            else:
                yield from self._band((*place, number), lead, rows)

    def _straight(self, place: tuple[int, ...], count: int, stored: int) -> Iterator[memoryview]:
        """Yield the first `count` elements of a chunk that spans all later axes."""
        width = self._array.width
        full = (*place, *(0 for _ in self._array.shape[len(place) :]))
        stream = self._open(full)
        for start in range(0, count, PIECE // width):
            yield self._read(stream, min(PIECE // width, count - start) * width)
        stream.skip((stored - count) * width)
        stream.finish()

    def _band(self, place: tuple[int, ...], lead: int, rows: int) -> Iterator[memoryview]:
        """Yield rows that run through several chunks, put in order."""
        shape, chunks = self._array.shape[lead + 1 :], self._array.chunks[lead + 1 :]
        width = self._array.width
        row = max(math.prod(shape), math.prod(chunks)) * width
        grid = [range(-(-n // c)) for n, c in zip(shape, chunks, strict=True)]
        step = min(rows, max(1, _BAND // row))
        side_by_side = math.prod(map(len, grid)) if step < rows else 1
        if row > _MAX_ROW or side_by_side > _MAX_STREAMS:
            detail = f"rows of {row} bytes that run through {side_by_side} chunks"
            raise Damaged(self._path, 0, "limit", detail)
        places = [(*place, *later) for later in itertools.product(*grid)]
        # All rows at once where they are few: then one chunk is open at a time.
        streams: Iterable[ChunkStream | _Fill] = map(self._open, places)
        if step < rows:
            streams = list(streams)
        for start in range(0, rows, step):
            count = min(step, rows - start)
            band = np.empty((count, *shape), element(self._array.dtype))
            for at, stream in zip(places, streams, strict=True):
                self._fill_part(band, stream, at[len(place) :], chunks)
                if start + count == rows:
                    self._finish(stream, lead, rows)
            yield from _cut(band.reshape(-1).view(np.uint8).data, width)

    def _fill_part(
        self,
        band: Elements,
        stream: ChunkStream | _Fill,
        place: Sequence[int],
        chunks: Sequence[int],
    ) -> None:
        """Copy the next rows of a chunk to where they are in the array."""
        data = self._read(stream, len(band) * math.prod(chunks) * self._array.width)
        _place(band, np.frombuffer(data, band.dtype).reshape(len(band), *chunks), place, chunks)

    def _finish(self, stream: ChunkStream | _Fill, lead: int, rows: int) -> None:
        """Pass over the rows that a chunk holds beyond the edge, and see that it ends there."""
        row = math.prod(self._array.chunks[lead + 1 :]) * self._array.width
        stream.skip((self._array.chunks[lead] - rows) * row)
        stream.finish()

    def _read(self, stream: ChunkStream | _Fill, count: int) -> memoryview:
        """Return the next `count` bytes, as little-endian elements."""
        data, kind = stream.read(count), element(self._array.dtype)
        if isinstance(stream, _Fill) or not self._array.big_endian or kind.itemsize == 1:
            return memoryview(data)
        half = kind.itemsize // 2 if kind.kind == "c" else kind.itemsize
        return np.frombuffer(data, f">u{half}").astype(f"<u{half}").view(np.uint8).data

    def _open(self, place: Sequence[int]) -> ChunkStream | _Fill:
        span = self._span(place)
        if span is not None:
            return ChunkStream(span, self._array.codecs)
        if self._all_stored:
            detail = f"the chunk {self._array.key(place)!r} is not there"
            raise Damaged(self._path, 0, "missing_chunk", detail)
        return _Fill(self._array.fill)

    def _span(self, place: Sequence[int]) -> Span | None:
        """Where a chunk lies, by itself or in its shard."""
        sharding = self._array.sharding
        if sharding is None:
            return self._find(self._array.key(place))
        per_shard = [s // c for s, c in zip(sharding.shards, self._array.chunks, strict=True)]
        shard = self._array.key([p // n for p, n in zip(place, per_shard, strict=True)])
        if self._shard is None or self._shard[0] != shard:
            self._shard = (shard, *self._read_index(shard, math.prod(per_shard)))
        _, span, index = self._shard
        if span is None:
            return None
        number = 0
        for inner, n in zip(place, per_shard, strict=True):
            number = number * n + inner % n
        offset, size = index[2 * number], index[2 * number + 1]
        if offset == size == _NOT_STORED:
            return None
        return span.part(offset, size)

    def _read_index(self, key: str, count: int) -> tuple[Span | None, tuple[int, ...]]:
        """Offset and size of each chunk in a shard."""
        span, sharding = self._find(key), self._array.sharding
        if span is None or sharding is None:
            return None, ()
        size = 16 * count + 4 * len(sharding.index_codecs)
        if size > _MAX_INDEX:
            raise Damaged(self._path, 0, "limit", f"a shard of {count} chunks")
        first = span.size - size if sharding.index_at_end else 0
        if first < 0:
            raise Damaged(self._path, 0, "truncated", "a shard is smaller than its index")
        stream = ChunkStream(span.part(first, size), sharding.index_codecs)
        index = struct.unpack(f"<{2 * count}Q", stream.read(16 * count))
        stream.finish()
        return span, index


class _Fill:
    """A chunk that is not stored: its fill value, as often as it is asked for."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def read(self, count: int) -> bytes:
        return self._value * (count // len(self._value))

    def skip(self, count: int) -> None:
        """Nothing is there to be skipped."""

    def finish(self) -> None:
        """Nothing can be left."""


def _place(band: Elements, part: Elements, place: Sequence[int], chunks: Sequence[int]) -> None:
    """Copy what lies within the array from a chunk into its place."""
    target, source = [slice(None)], [slice(None)]
    for number, size, whole in zip(place, chunks, band.shape[1:], strict=True):
        first = number * size
        count = min(size, whole - first)
        target.append(slice(first, first + count))
        source.append(slice(count))
    band[tuple(target)] = part[tuple(source)]


def _cut(data: memoryview, width: int) -> Iterator[memoryview]:
    step = PIECE - PIECE % width
    for start in range(0, len(data), step):
        yield data[start : start + step]
