"""Partitioned variables of a tensor bundle: slices that tile a tensor, and the tensor from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from forensics.errors import Damaged
from forensics.sources.checkpoints.bundle_entries import Entry, Extents
from forensics.sources.checkpoints.ordered_code import WHOLE
from forensics.sources.checkpoints.stored_tensor import PIECE

_MOST_BOXES = 4096
"""Slices of a variable that is cut along several axes; along one, there may be any number."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Where a slice begins in its variable, and the entry of its bytes."""

    start: tuple[int, ...]
    entry: Entry


class Stream:
    """Bytes of one slice, taken from front to back and verified at the end.

    Parameters
    ----------
    read : callable
        ``read(count)`` returns the next `count` bytes.
    finish : callable
        Raises `Damaged` where the checksum of all that was read is wrong.
    """

    def __init__(self, read: Callable[[int], memoryview], finish: Callable[[], None]) -> None:
        self.read, self.finish = read, finish


def slices_of(
    parent: Entry, parts: Sequence[tuple[Extents, Entry]], path: str
) -> tuple[Slice, ...]:
    """Slices in the order of their starts.

    Raises
    ------
    Damaged
        Together they are not the variable: an element is missing, or in two of them.
    """
    slices = []
    for extents, entry in parts:
        start = tuple(begin for begin, _ in extents)
        lengths = tuple(
            size if length == WHOLE else length
            for (_, length), size in zip(extents, parent.shape, strict=False)
        )
        inside = len(extents) == len(parent.shape) and all(
            begin >= 0 and begin + length <= size
            for begin, length, size in zip(start, lengths, parent.shape, strict=False)
        )
        if not inside or lengths != entry.shape or entry.dtype != parent.dtype or entry.slices:
            raise _bad(parent, path, "a slice does not fit it")
        slices.append(Slice(start, entry))
    slices.sort(key=lambda s: s.start)
    if sum(s.entry.elements for s in slices) != parent.elements or _overlap(parent, slices, path):
        raise _bad(parent, path, "its slices do not fill it once")
    return tuple(slices)


def _bad(parent: Entry, path: str, what: str) -> Damaged:
    return Damaged(path, parent.at, "bad_slices", f"{parent.name!r}: {what}")


def _overlap(parent: Entry, slices: Sequence[Slice], path: str) -> bool:
    """Whether two slices share an element; empty ones share none."""
    boxes = [s for s in slices if s.entry.elements]
    axes = cut_axes(parent.shape, boxes)
    if not axes:
        return len(boxes) > 1
    if len(axes) == 1:
        ends = [s.start[axes[0]] + s.entry.shape[axes[0]] for s in boxes]
        starts = [s.start[axes[0]] for s in boxes]
        return any(end > start for end, start in zip(ends, starts[1:], strict=False))
    if len(boxes) > _MOST_BOXES:
        raise Damaged(path, parent.at, "limit", f"{parent.name!r} has {len(boxes)} slices")
    starts_of = np.array([s.start for s in boxes])
    ends_of = starts_of + np.array([s.entry.shape for s in boxes])
    for i in range(1, len(boxes)):
        apart = (starts_of[:i] >= ends_of[i]) | (ends_of[:i] <= starts_of[i])
        if not apart.any(axis=1).all():
            return True
    return False


def cut_axes(shape: tuple[int, ...], slices: Sequence[Slice]) -> list[int]:
    """Axes along which a slice is shorter than the variable."""
    return [
        axis for axis, size in enumerate(shape) if any(s.entry.shape[axis] != size for s in slices)
    ]


def joined(
    shape: tuple[int, ...], itemsize: int, slices: Sequence[Slice], streams: Sequence[Stream]
) -> Iterator[memoryview]:
    """Elements of the variable in C order, at most `PIECE` bytes at a time.

    Parameters
    ----------
    shape : tuple of int
        Of the variable.
    itemsize : int
        Bytes of an element.
    slices, streams
        The slices, and the bytes of each: in C order of the variable, those of a slice come in C
        order of the slice, so that each is read once, from front to back.
    """
    pairs = [(s, t) for s, t in zip(slices, streams, strict=True) if s.entry.elements]
    axes = cut_axes(shape, [s for s, _ in pairs]) or [0]
    inner = math.prod(shape[axes[-1] + 1 :]) * itemsize
    if len(axes) == 1:
        rows = math.prod(shape[: axes[0]])
        runs = [(s.entry.shape[axes[0]] * inner, t) for s, t in pairs]
        yield from _rows(rows, runs)
    else:
        between = math.prod(shape[axes[-2] + 1 : axes[-1]])
        for outer in np.ndindex(*shape[: axes[-2]]):
            for first, end in _stretches(axes[-2], [s for s, _ in pairs if _holds(s, outer)]):
                row = [(s, t) for s, t in pairs if _holds(s, (*outer, first))]
                row.sort(key=lambda pair: pair[0].start[axes[-1]])
                runs = [(s.entry.shape[axes[-1]] * inner, t) for s, t in row]
                yield from _rows((end - first) * between, runs)
    for stream in streams:
        stream.finish()


def _stretches(axis: int, slices: Sequence[Slice]) -> Iterator[tuple[int, int]]:
    """Begin and end of what is cut nowhere along an axis: its rows come from the same slices."""
    cuts = {s.start[axis] for s in slices} | {s.start[axis] + s.entry.shape[axis] for s in slices}
    yield from pairwise(sorted(cuts))


def _holds(part: Slice, prefix: tuple[int, ...]) -> bool:
    return all(
        start <= at < start + size
        for start, size, at in zip(part.start, part.entry.shape, prefix, strict=False)
    )


def _rows(rows: int, runs: Sequence[tuple[int, Stream]]) -> Iterator[memoryview]:
    """Rows that consist of one run of bytes of each stream."""
    width = sum(length for length, _ in runs)
    together = PIECE // max(1, width)
    if rows == 1 or together == 0:
        for _ in range(rows):
            for length, stream in runs:
                for start in range(0, length, PIECE):
                    yield stream.read(min(PIECE, length - start))
        return
    for first in range(0, rows, together):
        count = min(together, rows - first)
        block = np.empty((count, width), np.uint8)
        at = 0
        for length, stream in runs:
            part = np.frombuffer(stream.read(count * length), np.uint8)
            block[:, at : at + length] = part.reshape(count, length)
            at += length
        yield block.reshape(-1).data
