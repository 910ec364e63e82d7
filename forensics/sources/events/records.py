"""TFRecord framing: where the records of an event file lie, and which bytes belong to none.

A record is an 8-byte little-endian length, the masked CRC-32C of those 8 bytes, the data, and the
masked CRC-32C of the data [1]_. Nothing is interpreted before its checksum verified. After damage
the reader goes on at the next header whose length and data both verify, so that one flipped byte
costs one record. A writer that was killed leaves the beginning of a record: that is an incomplete
tail, not damage, and every prefix of a sound file is read as one.

References
----------
.. [1] TensorFlow, ``tensorflow/core/lib/io/record_writer.h`` ("Format of a single record").
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forensics.sources.checksum import Buffer
from forensics.sources.events.span_checksums import (
    header_verifies,
    masked,
    span_checksums,
    verified_headers,
    words_at,
)

HEADER, FOOTER = 12, 4
MAX_LENGTH = (1 << 31) - 1
"""Bytes of the longest protobuf message, so of the longest event."""
_FIRST_WALK, _LONGEST_WALK = 64, 1 << 14
"""Records verified at once, right after damage and after a long stretch without any."""
_WINDOW = 1 << 16
"""Bytes searched for a header at once."""
_SPARE_EFFORT = 32 << 20
"""Bytes that may be checksummed in vain, besides eight times those before the place reached.

A file stuffed with sound headers before unsound data would cost the square of its size otherwise.
"""

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Hole:
    """Bytes that belong to no readable record: ``[offset, offset + length)`` of the stream."""

    offset: int
    length: int
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Block:
    """Sound records ``data[starts[i]:ends[i]]``; data begins at byte `base` of the stream."""

    data: bytes
    base: int
    starts: list[int]
    ends: list[int]


@dataclass(slots=True)
class _Search:
    """A search for the next sound record, since the byte (of the stream) that was wrong."""

    since: int
    kind: str
    detail: str
    cut: int | None = None
    """First header found that verifies and promises more bytes than the stream has."""


class RecordReader:
    """Finds the records of a stream that is fed piece by piece.

    Parameters
    ----------
    size : int or None
        Bytes that the whole stream has, None when unknown (compressed).
    verified_length : int
        Bytes of the longest data whose checksum is verified. Headers always are, and so is the
        record at which a search after damage ends.

    Attributes
    ----------
    holes : list of Hole
        In order of offset; complete after `finish`.
    incomplete_tail : int or None
        Where an unfinished last record begins, known after `finish`.
    gave_up : bool
        Whether the rest of the stream was left unexamined because it cost too much.
    unverified : int
        Records whose data was longer than `verified_length`.
    """

    def __init__(self, size: int | None = None, verified_length: int = MAX_LENGTH) -> None:
        self.holes: list[Hole] = []
        self.incomplete_tail: int | None = None
        self.gave_up = False
        self.unverified = 0
        self._size = size
        self._verified_length = verified_length
        self._fed = 0
        self._pieces: list[bytes] = []
        self._base = 0
        self._need = 1
        self._search: _Search | None = None
        self._walk_limit = _FIRST_WALK
        self._effort = 0
        self._candidates: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._searched = 0

    def feed(self, piece: bytes) -> Iterator[Block]:
        """Take the next bytes; yield the records they complete."""
        self._fed += len(piece)
        if self._ended:
            return
        self._pieces.append(piece)
        if self._fed - self._base >= self._need:
            yield from self._examine(final=False)

    def finish(self) -> Iterator[Block]:
        """Say that nothing follows; yield what is left."""
        if not self._ended:
            yield from self._examine(final=True)
        self._close_search(self._fed)

    @property
    def _ended(self) -> bool:
        """Whether nothing more can be found."""
        return self.gave_up or self.incomplete_tail is not None

    def _examine(self, *, final: bool) -> Iterator[Block]:
        data = b"".join(self._pieces)
        starts: list[int] = []
        ends: list[int] = []
        self._candidates, self._searched = np.zeros(0, np.int64), 0
        position = self._scan(data, starts, ends, final)
        if starts:
            yield Block(data, self._base, starts, ends)
        self._base += position
        self._pieces = [] if self._ended else [data[position:]]

    def _scan(
        self, data: Buffer, starts: list[int], ends: list[int], final: bool, position: int = 0
    ) -> int:
        """Collect the sound records of `data`; return the first byte that is needed again."""
        array = np.frombuffer(data, np.uint8)
        self._need = 0
        while not self._need:
            if self._search is not None:
                position = self._resync(array, position, final)
                continue
            settled = self._advance(array, position, starts, ends)
            position = self._judge(data, position, final) if settled == position else settled
        return position

    def _advance(
        self, array: npt.NDArray[np.uint8], position: int, starts: list[int], ends: list[int]
    ) -> int:
        """Collect the sound records that follow one another; return where they end."""
        heads, stops = self._walk(array.data, position)
        settled = self._keep(array, heads, stops, starts, ends)
        if not settled:
            return position
        self._walk_limit = min(_LONGEST_WALK, 4 * self._walk_limit)
        return stops[settled - 1]

    def _walk(self, data: memoryview, position: int) -> tuple[list[int], list[int]]:
        """Heads and ends of records as their unverified lengths lead from one to the next."""
        heads: list[int] = []
        stops: list[int] = []
        size, unpack = len(data), _LENGTH.unpack_from
        for _ in range(self._walk_limit):
            if size - position < HEADER:
                break
            stop = position + HEADER + unpack(data, position)[0] + FOOTER
            if stop > size:
                break
            heads.append(position)
            stops.append(stop)
            position = stop
        return heads, stops

    def _keep(
        self,
        array: npt.NDArray[np.uint8],
        heads: list[int],
        stops: list[int],
        starts: list[int],
        ends: list[int],
    ) -> int:
        """Verify walked records and keep the sound ones.

        Returns how many of the first were settled: kept, or reported as a hole because a sound
        header follows them. The next one, if any, needs `_judge`.
        """
        if not heads:
            return 0
        first, last = np.asarray(heads, np.int64), np.asarray(stops, np.int64)
        words = words_at(array)
        sound = masked(span_checksums(array, first, np.full(len(heads), 8))) == words[first + 8]
        reached = len(heads) if sound.all() else int(np.argmin(sound))
        first, last = first[:reached], last[:reached]
        lengths = last - first - HEADER - FOOTER
        intact = lengths > self._verified_length
        some = np.flatnonzero(~intact)
        checksums = span_checksums(array, first[some] + HEADER, lengths[some])
        intact[some] = masked(checksums) == words[last[some] - FOOTER]
        damaged = np.flatnonzero(~intact).tolist()
        if damaged and damaged[-1] == reached - 1:
            reached = damaged.pop()
        for index in damaged:
            self._lose_record(heads[index], stops[index])
        kept = np.flatnonzero(intact[:reached])
        self.unverified += int(np.count_nonzero(lengths[kept] > self._verified_length))
        starts.extend((first[kept] + HEADER).tolist())
        ends.extend((last[kept] - FOOTER).tolist())
        return reached

    def _judge(self, data: Buffer, position: int, final: bool) -> int:
        """Decide about `position`, where no sound record ends within `data`; return where to go on.

        Sets `_need` when more bytes must come first.
        """
        left = len(data) - position
        if left < HEADER:
            if final and left:
                self.incomplete_tail = self._base + position
            self._need = HEADER
            return position
        if not header_verifies(data[position : position + HEADER]):
            return self._lose(position, "crc_mismatch", "a record's header fails its checksum")
        length = int(_LENGTH.unpack_from(data, position)[0])
        if length > MAX_LENGTH:
            claim = f"a record claims {length} bytes, more than an event can have"
            return self._lose(position, "bad_length", claim)
        stop = position + HEADER + length + FOOTER
        if stop > len(data):
            if final or self._beyond(stop):
                self.incomplete_tail = self._base + position
            self._need = stop - position
            return position
        if len(data) - stop >= HEADER:
            if not header_verifies(data[stop : stop + HEADER]):
                why = "a record fails its checksum and no other one follows it"
                return self._lose(position, "crc_mismatch", why)
        elif not final and not self._beyond(stop + HEADER):
            self._need = stop + HEADER - position
            return position
        self._lose_record(position, stop)
        return stop

    def _resync(self, array: npt.NDArray[np.uint8], position: int, final: bool) -> int:
        """Go to the next record, from `position` on, whose length and data verify."""
        assert self._search is not None
        for candidate in self._headers(array, position):
            length = int(_LENGTH.unpack_from(array.data, candidate)[0])
            stop = candidate + HEADER + length + FOOTER
            if length > MAX_LENGTH:
                continue
            if stop > len(array):
                if not final and not self._beyond(stop):
                    self._need = stop - candidate
                    return candidate
                if self._search.cut is None:
                    self._search.cut = self._base + candidate
                continue
            crc = int(masked(span_checksums(array, [candidate + HEADER], [length]))[0])
            if crc == _CRC.unpack_from(array.data, stop - FOOTER)[0]:
                self._search.cut = None
                self._close_search(self._base + candidate)
                return candidate
            self._effort += length
            if self._effort > _SPARE_EFFORT + 8 * (self._base + stop):
                self.gave_up = True
                break
        self._need = HEADER
        return max(position, len(array) - HEADER + 1)

    def _headers(self, array: npt.NDArray[np.uint8], position: int) -> Iterator[int]:
        """Offsets >= position where a header verifies; each byte of `array` is searched once."""
        self._searched = max(self._searched, position)
        while True:
            at = int(np.searchsorted(self._candidates, position))
            if at < len(self._candidates):
                candidate = int(self._candidates[at])
                yield candidate
                position = candidate + 1
                continue
            if self._searched > len(array) - HEADER:
                return
            window = array[self._searched : self._searched + _WINDOW + HEADER - 1]
            self._candidates = verified_headers(window) + self._searched
            self._searched += _WINDOW

    def _beyond(self, stop: int) -> bool:
        """Whether the stream is known to end before byte `stop` of the current data."""
        return self._size is not None and self._base + stop > self._size

    def _lose(self, position: int, kind: str, detail: str) -> int:
        """Begin a search after the byte at `position`."""
        self._search = _Search(self._base + position, kind, detail)
        self._walk_limit = _FIRST_WALK
        return position + 1

    def _lose_record(self, position: int, stop: int) -> None:
        """Report a record whose neighbours are sound: nothing else is lost."""
        why = "the data of a record fails its checksum"
        self.holes.append(Hole(self._base + position, stop - position, "crc_mismatch", why))

    def _close_search(self, stop: int) -> None:
        """Report the hole that a search went through, up to byte `stop` of the stream."""
        search, self._search = self._search, None
        if search is None:
            return
        if search.cut is not None:
            self.incomplete_tail = stop = search.cut
        kind, detail = search.kind, search.detail
        if self.gave_up:
            kind, detail = "limit", f"{detail}; the search for the next one was given up"
        self.holes.append(Hole(search.since, stop - search.since, kind, detail))
