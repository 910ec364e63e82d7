"""Spans of an event file read again, in few large pieces, from the stream they were found in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forensics.errors import Damaged
from forensics.sources.events.records import HEADER
from forensics.sources.events.span_checksums import header_verifies
from forensics.sources.storage.blob import Blob
from forensics.sources.storage.gzip_stream import MAGIC, Unpacker

Positions = npt.NDArray[np.int64]

_WINDOW = 32 << 20
"""Bytes read at once, unless one span alone is longer."""
_GAP = 64 << 10
"""Bytes between two spans that are read along rather than skipped."""
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Window:
    """Bytes of the stream from `base` on, and the indices of the spans that lie in them."""

    data: memoryview
    base: int
    spans: Positions


def windows(blob: Blob, offsets: Positions, lengths: Positions) -> Iterator[Window]:
    """Read spans.

    Parameters
    ----------
    blob : Blob
        An event file, plain or gzip'd.
    offsets, lengths : array of int64, shape (n,)
        In bytes of the unpacked stream.

    Yields
    ------
    Window
        In order of offset; every span lies in exactly one.

    Raises
    ------
    Damaged
        The file does not hold them.
    """
    order = np.argsort(offsets, kind="stable").astype(np.int64)
    packed = _is_packed(blob)
    stream = _Unpacked(blob) if packed else None
    for first, last in _pieces(offsets[order], lengths[order]):
        spans = order[first:last]
        start = int(offsets[spans[0]])
        stop = int((offsets[spans] + lengths[spans]).max())
        data = blob.read(start, stop - start) if stream is None else stream.read(start, stop)
        yield Window(data, start, spans)


def _pieces(starts: Positions, lengths: Positions) -> Iterator[tuple[int, int]]:
    """Group sorted spans that are read at once, as ranges of indices."""
    count = len(starts)
    reach = np.maximum.accumulate(starts + lengths)
    # a new piece must begin after every wide gap; within those, as many spans as fit a window
    gaps = np.flatnonzero(starts[1:] > reach[:-1] + _GAP) + 1
    for first, last in zip([0, *gaps.tolist()], [*gaps.tolist(), count], strict=True):
        while first < last:
            fits = int(np.searchsorted(reach[first:last], starts[first] + _WINDOW, side="right"))
            stop = min(last, first + max(1, fits))
            yield first, stop
            first = stop


def _is_packed(blob: Blob) -> bool:
    head = bytes(blob.read(0, min(HEADER, blob.size)))
    return head.startswith(MAGIC) and not header_verifies(head)


class _Unpacked:
    """The unpacked stream of a gzip'd file, read from its beginning to its end once."""

    def __init__(self, blob: Blob) -> None:
        self._name = blob.name
        self._stream = self._unpack(blob)
        self._data = b""
        self._base = 0

    @staticmethod
    def _unpack(blob: Blob) -> Iterator[bytes]:
        unpacker = Unpacker(blob.name, blob.size)
        for offset in range(0, blob.size, _PIECE):
            piece = blob.read(offset, min(_PIECE, blob.size - offset))
            yield from unpacker.feed(bytes(piece))

    def read(self, start: int, stop: int) -> memoryview:
        """Bytes ``[start, stop)``; starts never go back."""
        pieces = [self._data]
        end = self._base + len(self._data)
        while end < stop:
            piece = next(self._stream, b"")
            if not piece:
                detail = f"the packed stream ends at byte {end}, {stop} were promised"
                raise Damaged(self._name, end, "truncated", detail)
            end += len(piece)
            if end <= start:
                self._base, pieces = end, []
            else:
                pieces.append(piece)
        data = b"".join(pieces)
        kept = data[max(0, start - self._base) :]
        self._base, self._data = max(self._base, start), kept
        return memoryview(kept)[: stop - self._base]
