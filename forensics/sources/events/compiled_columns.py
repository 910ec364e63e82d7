"""The compiled tier: kernels verify records and take them to pieces, this puts the pieces together.

Whatever a kernel does not understand is handed to the parser in pure Python, record by record, and
whatever it cannot verify to the search of `RecordReader`: results are the same as without kernels.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from forensics.sources.checksum import Buffer
from forensics.sources.compiled import layout, scan, tags
from forensics.sources.compiled.layout import MAX_VALUES, STATE
from forensics.sources.events.columns import Columns
from forensics.sources.events.event_columns import (
    Content,
    EventCollector,
    blob_index,
    blobs_by_kind,
    grouped_columns,
    readable_tags,
)
from forensics.sources.events.records import FOOTER, HEADER, MAX_LENGTH, RecordReader
from forensics.sources.events.spill import Chunks, allocate, release

Array = npt.NDArray[np.generic]

_ROWS, _BLOBS, _TAGS, _STORE = 1 << 16, 1 << 13, 1 << 13, 1 << 18
"""Rows of a chunk; blobs, tags and bytes of tags that there is room for at first."""
_ROW: dict[str, type[np.generic]] = {
    "ROW_TAG": np.int32,
    "ROW_STEP": np.int64,
    "ROW_TIME": np.float64,
    "ROW_VALUE": np.float64,
}
_BLOB: dict[str, type[np.generic]] = {
    "BLOB_TAG": np.int32,
    "BLOB_KIND": np.uint8,
    "BLOB_STEP": np.int64,
    "BLOB_TIME": np.float64,
    "BLOB_OFFSET": np.int64,
    "BLOB_LENGTH": np.int64,
}
_WORD = 8
_SPARE: list[dict[str, Array]] = []
"""Chunks that the next file is read with: memory that is new costs more than what is done in it."""
_MOST_SPARE = 16
_RELEASED = 64
"""Chunks after which pages of large columns are let go."""

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


class CompiledColumns(EventCollector):
    """Collects the events of a file, most of them by kernels.

    Parameters
    ----------
    verified_length : int
        Bytes of the longest data whose checksum is verified.
    """

    def __init__(self, verified_length: int = MAX_LENGTH) -> None:
        super().__init__()
        self._state = layout.new_state()
        self._at = address_of(self._state)
        # What kernels know by address only is kept alive here, under the name of its address.
        self._arrays: dict[str, Array] = {}
        self._chunks = Chunks()
        self._set("VALUES", np.empty(MAX_VALUES * layout.VALUE, np.uint8))
        self._make_rows()
        for name, kind in _BLOB.items():
            self._set(name, np.empty(_BLOBS, kind), "MAX_BLOBS")
        self._set("TAGS", np.empty((_TAGS, layout.KNOWN // _WORD), np.int64), "MAX_TAGS")
        self._set("SLOTS", np.full(2 * _TAGS, -1, np.int32), "N_SLOTS")
        self._set("STORE", np.empty(_STORE, np.uint8), "MAX_STORED")
        self._put("LAST_TAG", -1)
        self._put("LAST_DESCRIBED", -1)
        self._put("SECRET", secrets.randbits(62) << 1 | 1)
        self._put("VERIFIED_LENGTH", verified_length)

    def clear(self) -> None:
        """Forget everything but the memory: many files are read with the same."""
        super().clear()
        self._chunks.clear()
        self._arrays["SLOTS"].fill(-1)
        for name in ("N_EVENTS", "N_UNVERIFIED", "N_ROWS", "N_BLOBS", "N_TAGS", "STORED"):
            self._put(name, 0)
        self._put("LAST_TAG", -1)
        self._put("LAST_DESCRIBED", -1)

    @property
    def unverified(self) -> int:
        """Records whose data was too long to be verified."""
        return self._get("N_UNVERIFIED")

    def scan(self, array: Bytes, base: int, position: int) -> int:
        """Take the sound records of `array` that follow one another; return where they end.

        Parameters
        ----------
        array : array of uint8
            Bytes of the stream from `base` on.
        base, position : int
            Offset in the stream; where in `array` to begin.
        """
        for name, value in (
            ("BASE", address_of(array)),
            ("SIZE", len(array)),
            ("ORIGIN", base),
            ("POSITION", position),
        ):
            self._put(name, value)
        while True:
            answer = scan.scan(self._at)
            if answer == scan.LEFT:
                self._take_next(array, base)
            elif answer == scan.ROOM:
                self._make_room()
            else:
                return self._get("POSITION")

    def _take_next(self, array: Bytes, base: int) -> None:
        """Let pure Python take the record at the position, which is sound."""
        start = self._get("POSITION")
        length = int.from_bytes(array[start : start + 8].tobytes(), "little")
        data = array[start + HEADER : start + HEADER + length].tobytes()
        self._put("POSITION", start + HEADER + length + FOOTER)
        if length > self._get("VERIFIED_LENGTH"):
            self._put("N_UNVERIFIED", self.unverified + 1)
        self.take_event(data, base + start + HEADER, 0, length)

    def _number(self, tag: bytes, metadata: bytes | None) -> int:
        needed = len(tag) + len(metadata or b"")
        while not self._has_room(needed):
            self._make_room(needed)
        both = np.frombuffer(tag + (metadata or b"") + b"\0", np.uint8)
        address = address_of(both)
        length = -1 if metadata is None else len(metadata)
        return int(tags.enter(self._at, address, len(tag), address + len(tag), length))

    def _add_scalar(self, tag: int, step: int, wall_time: float, value: float) -> None:
        self._add_row("N_ROWS", _ROW, (tag, step, wall_time, value))
        self._arrays["TAGS"][tag, layout.N_SCALARS // _WORD] += 1

    def _add_blob(
        self, tag: int, kind: int, step: int, wall_time: float, offset: int, length: int
    ) -> None:
        self._add_row("N_BLOBS", _BLOB, (tag, kind, step, wall_time, offset, length))

    def _add_row(
        self, counter: str, names: dict[str, type[np.generic]], values: tuple[float, ...]
    ) -> None:
        row = self._get(counter)
        for name, value in zip(names, values, strict=True):
            self._arrays[name][row] = value
        self._put(counter, row + 1)

    def _has_room(self, needed: int) -> bool:
        """Whether a further value fits in, of so many bytes of tag and metadata."""
        return (
            self._get("N_ROWS") < self._get("MAX_ROWS")
            and self._get("N_BLOBS") < self._get("MAX_BLOBS")
            and self._get("N_TAGS") < self._get("MAX_TAGS")
            and self._get("STORED") + needed <= self._get("MAX_STORED")
        )

    def _make_room(self, needed: int = 0) -> None:
        """Enlarge what is too small for one more event of as many values as kernels take."""
        enough = True
        if self._get("MAX_ROWS") - self._get("N_ROWS") < MAX_VALUES:
            self._make_rows()
            enough = False
        if self._get("MAX_BLOBS") - self._get("N_BLOBS") < MAX_VALUES:
            for name in _BLOB:
                self._set(name, _doubled(self._arrays[name]), "MAX_BLOBS")
            enough = False
        if self._get("MAX_TAGS") - self._get("N_TAGS") < MAX_VALUES:
            self._set("TAGS", _doubled(self._arrays["TAGS"]), "MAX_TAGS")
            self._set("SLOTS", np.full(2 * self._get("MAX_TAGS"), -1, np.int32), "N_SLOTS")
            tags.fill_slots(self._at)
            enough = False
        if enough or self._get("STORED") + needed > self._get("MAX_STORED"):
            self._set("STORE", _doubled(self._arrays["STORE"]), "MAX_STORED")

    def _make_rows(self) -> None:
        """Begin a further chunk of rows."""
        reusable = "ROW_TAG" in self._arrays and self._chunks.put(
            {name: self._arrays[name] for name in _ROW}, self._get("N_ROWS")
        )
        if not reusable:
            for name, array in _new_chunk().items():
                self._set(name, array, "MAX_ROWS")
        self._put("N_ROWS", 0)

    def content(self) -> Content:
        """All that was collected."""
        known = self._arrays["TAGS"][: self._get("N_TAGS")].astype(np.int64, copy=False).T
        starts, lengths, metadata, metadata_lengths, _, counts = known
        named, renamed = readable_tags(self._stretches(starts, lengths))
        blobs = [self._arrays[name][: self._get("N_BLOBS")] for name in _BLOB]
        numbers, kinds = (array.astype(np.int64) for array in blobs[:2])
        described = np.unique(numbers)
        described = described[metadata[described] >= 0]
        messages = self._stretches(metadata[described], metadata_lengths[described])
        by_number = dict(zip(described.tolist(), messages, strict=True))
        return Content(
            self._columns(named, counts.copy()),
            blob_index(named, numbers, kinds, blobs[2:], by_number),
            self.other + blobs_by_kind(kinds),
            self.faults,
            self.n_events + self._get("N_EVENTS"),
            renamed,
        )

    def _stretches(self, starts: Integers, lengths: Integers) -> Iterator[bytes]:
        """Stretches of the store."""
        stored = self._arrays["STORE"].data
        for first in range(0, len(starts), _TAGS):
            some = slice(first, first + _TAGS)
            ends = (starts[some] + lengths[some]).tolist()
            for start, end in zip(starts[some].tolist(), ends, strict=True):
                yield bytes(stored[start:end])

    def _columns(self, named: list[str], counts: Integers) -> Columns:
        total = int(counts.sum())
        columns = [allocate(total, kind) for kind in (np.int64, np.float64, np.float64)]
        places = _WORD * (np.cumsum(counts) - counts)
        given = [address_of(array) for array in (places, *columns)]
        chunks = self._chunks.pop_all()
        chunks.insert(0, ({name: self._arrays[name] for name in _ROW}, self._get("N_ROWS")))
        while chunks:
            chunk, count = chunks.pop()
            for name, array in self._chunks.loaded(chunk, count).items():
                self._set(name, array)
            self._put("N_ROWS", count)
            scan.group(self._at, *given)
            if chunks and len(_SPARE) < _MOST_SPARE:
                _SPARE.append({name: self._arrays[name] for name in _ROW})
            if len(chunks) % _RELEASED == 0:
                for array in columns:
                    release(array)
        self._chunks.clear()
        steps, times, values = columns
        return grouped_columns(
            named,
            counts,
            steps.astype(np.int64, copy=False),
            values.astype(np.float64, copy=False),
            times.astype(np.float64, copy=False),
        )

    def _get(self, name: str) -> int:
        return int(self._state[STATE[name] // _WORD])

    def _put(self, name: str, value: int) -> None:
        self._state[STATE[name] // _WORD] = value

    def _set(self, name: str, array: Array, room: str = "") -> None:
        """Give an array, and how much it has room for, to the kernels."""
        self._arrays[name] = array
        self._put(name, address_of(array))
        if room:
            self._put(room, len(array))


class CompiledRecords(RecordReader):
    """Finds the records of a stream and hands the sound ones to `CompiledColumns`."""

    def __init__(
        self, columns: CompiledColumns, size: int | None, verified_length: int = MAX_LENGTH
    ) -> None:
        super().__init__(size, verified_length)
        self._columns = columns

    def examine(self, view: Buffer, *, final: bool) -> int:
        """Take the next bytes of the stream from where they lie.

        Parameters
        ----------
        view : buffer
            From the first byte that was not consumed yet.
        final : bool
            Whether nothing follows.

        Returns
        -------
        int
            Bytes that are consumed. At least `needed` are wanted from there on.
        """
        consumed = len(view) if self._ended else self._scan_view(view, final)
        self._base += consumed
        if final:
            self._close_search(self._base + len(view) - consumed)
        return consumed

    def _scan_view(self, view: Buffer, final: bool) -> int:
        self._candidates, self._searched = np.zeros(0, np.int64), 0
        return self._scan(view, [], [], final)

    @property
    def needed(self) -> int:
        """Bytes without which nothing more can be said."""
        return self._need

    def _advance(self, array: Bytes, position: int, starts: list[int], ends: list[int]) -> int:
        reached = self._columns.scan(array, self._base, position)
        self.unverified = self._columns.unverified
        return reached


def _new_chunk() -> dict[str, Array]:
    try:
        return _SPARE.pop()
    except IndexError:
        return {name: np.empty(_ROWS, kind) for name, kind in _ROW.items()}


def address_of(array: npt.NDArray[np.generic]) -> int:
    """Address of the first byte of an array, which must outlive the use of it."""
    address: int = array.__array_interface__["data"][0]
    return address


def _doubled(array: Array) -> Array:
    larger = np.empty((2 * len(array), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
