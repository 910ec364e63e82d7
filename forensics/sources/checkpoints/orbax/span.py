"""Where the stored bytes of a value lie, and how to read them piece by piece."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Protocol

from forensics.errors import Damaged


class Source(Protocol):
    """Something that bytes are read from by offset, e.g. a `Blob`."""

    def read(self, offset: int, count: int) -> memoryview:
        """Return `count` bytes from `offset`."""


class InMemory:
    """Bytes at hand: a value that lies in a node of a tree, or a small file."""

    def __init__(self, data: bytes, path: str) -> None:
        self._data, self._path = memoryview(data), path

    def read(self, offset: int, count: int) -> memoryview:
        """Return `count` bytes from `offset`.

        Raises
        ------
        Damaged
            There are not so many.
        """
        if offset + count > len(self._data):
            detail = f"{count} bytes at {offset} of {len(self._data)}"
            raise Damaged(self._path, offset, "out_of_range", detail)
        return self._data[offset : offset + count]


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a source; ``path`` is the file to name in errors, ``first`` the place in it."""

    source: Source
    first: int
    size: int
    path: str

    def part(self, first: int, size: int) -> Span:
        """Return a part of it.

        Raises
        ------
        Damaged
            It reaches beyond.
        """
        if first + size > self.size:
            detail = f"{size} bytes at {first} of a value of {self.size} bytes are asked for"
            raise Damaged(self.path, self.first, "out_of_range", detail)
        return Span(self.source, self.first + first, size, self.path)

    def read(self) -> memoryview:
        """Return all of it: for what is known to be small."""
        return self.source.read(self.first, self.size)

    def open(self) -> SpanFile:
        """Return a file object over it."""
        return SpanFile(self)


class SpanFile(io.RawIOBase):
    """A span as something to read from, once and forwards."""

    def __init__(self, span: Span) -> None:
        super().__init__()
        self._span, self._position = span, 0

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as the span goes on."""
        target = memoryview(buffer).cast("B")
        count = min(len(target), self._span.size - self._position)
        target[:count] = self._span.source.read(self._span.first + self._position, count)
        self._position += count
        return count
