"""Bytes of an HDF5 file by address: never past the end, and what was claimed by which structure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from forensics.errors import Damaged


class Source(Protocol):
    """Where the bytes come from: a file, or a member of an archive."""

    @property
    def name(self) -> str:
        """What it is called in errors."""

    @property
    def size(self) -> int:
        """Number of bytes."""

    def read(self, offset: int, count: int) -> memoryview:
        """`count` bytes from `offset`."""

    def pieces(self, offset: int, count: int) -> Iterator[memoryview]:
        """`count` bytes from `offset`, a piece at a time; each may be overwritten by the next."""

    def place(self, offset: int) -> int:
        """Offset in the file that errors name."""

    @property
    def descriptor(self) -> tuple[int, int] | None:
        """Open file on a local disk and where the bytes begin in it, None where there is none."""


class Claim(NamedTuple):
    """A range of bytes and what lies there."""

    start: int
    end: int
    owner: str


class Image:
    """An HDF5 file.

    Addresses count from the base address, which is where the superblock lies. Every structure
    claims its bytes, and all of them together can claim no more than there are: work is in
    proportion to the size of the file, whatever it says.

    Parameters
    ----------
    source : Source
        Its bytes.
    """

    def __init__(self, source: Source) -> None:
        self.path = source.name
        self.base = 0
        self.offset_size = self.length_size = 8
        # Half of the chunks that a node of an older index has room for.
        self.chunk_k = 32
        self.source = source
        self._claims: list[Claim] = []
        self._claimed = 0

    @property
    def size(self) -> int:
        """Bytes from the base address to the end."""
        return self.source.size - self.base

    def read(self, address: int, count: int, what: str) -> memoryview:
        """`count` bytes, or `Damaged` where the file does not hold them."""
        self._check(address, count, what)
        return self.source.read(self.base + address, count)

    def pieces(self, address: int, count: int, what: str) -> Iterator[memoryview]:
        """`count` bytes, a piece at a time; each may be overwritten by the next."""
        self._check(address, count, what)
        return self.source.pieces(self.base + address, count)

    def _check(self, address: int, count: int, what: str) -> None:
        if address < 0 or count < 0 or address + count > self.size:
            detail = f"{what} should take {count} bytes at {address}, the file has {self.size}"
            raise self.damaged(address, "out_of_range", detail)

    def take(self, address: int, count: int, what: str) -> memoryview:
        """Read bytes that belong to one structure alone."""
        data = self.read(address, count, what)
        self.claim(address, count, what)
        return data

    def claim(self, address: int, count: int, what: str) -> None:
        """Note whose bytes these are; the range must lie in the file."""
        self._check(address, count, what)
        self._claimed += count
        if self._claimed > self.size:
            raise self.damaged(address, "claimed_twice", f"{what} lies where something else does")
        if count:
            self._claims.append(Claim(address, address + count, what))

    def claimed_twice(self) -> Iterator[tuple[Claim, Claim]]:
        """Pairs of structures that share bytes."""
        last: Claim | None = None
        for claim in sorted(self._claims):
            if last is not None and claim.start < last.end:
                yield last, claim
            if last is None or claim.end > last.end:
                last = claim

    def damaged(self, address: int, kind: str, detail: str) -> Damaged:
        """Error at an address."""
        offset = self.base + min(max(address, 0), max(self.size, 0))
        return Damaged(self.path, self.source.place(offset), kind, detail)
