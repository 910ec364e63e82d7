"""From sound records to what an event file holds: columns of scalars, an index of the rest."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from forensics.errors import Damaged
from forensics.sources.events.blob_index import KINDS, BlobIndex, BlobTags
from forensics.sources.events.columns import Columns
from forensics.sources.events.common_event import common_event
from forensics.sources.events.event_message import parse_event
from forensics.sources.events.records import Block
from forensics.sources.wire import LENGTH, fields

_ROW = struct.Struct("<iqdd")
_ROWS = np.dtype([("tag", "<i4"), ("step", "<i8"), ("wall_time", "<f8"), ("value", "<f8")])
_BLOB = struct.Struct("<iBqdqq")
_BLOBS = np.dtype(
    [
        ("tag", "<i4"),
        ("kind", "u1"),
        ("step", "<i8"),
        ("wall_time", "<f8"),
        ("offset", "<i8"),
        ("length", "<i8"),
    ]
)
_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True)
class Fault:
    """An event, or one value of it, whose checksums verify and whose content makes no sense."""

    offset: int
    kind: str
    detail: str
    lost: str = "an event"


@dataclass(frozen=True, slots=True)
class Content:
    """What the records of one event file hold.

    Parameters
    ----------
    columns : Columns
        Scalars by readable tag.
    blobs : BlobIndex
        Where the values lie that are no scalars.
    other : Counter of str
        Number of values that are no scalars and of other events, by kind.
    faults : list of Fault
        Events, and values of events, that were left out.
    n_events : int
        Events understood.
    renamed : int
        Tags that are not UTF-8.
    """

    columns: Columns = field(default_factory=Columns)
    blobs: BlobIndex = field(default_factory=BlobIndex)
    other: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    n_events: int = 0
    renamed: int = 0


class EventCollector(ABC):
    """Collects the events of a file, all of an event or nothing.

    Attributes
    ----------
    faults : list of Fault
        Events, and values of events, that were left out.
    other : Counter of str
        What there was besides scalars and blobs, by kind.
    n_events : int
        Events understood.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.other: Counter[str] = Counter()
        self.n_events = 0

    def clear(self) -> None:
        """Forget all that was collected."""
        self.faults, self.other, self.n_events = [], Counter(), 0

    def take(self, block: Block) -> None:
        """Add the events of a block of records."""
        for start, end in zip(block.starts, block.ends, strict=True):
            self.take_event(block.data, block.base, start, end)

    def take_event(self, data: bytes, base: int, start: int, end: int) -> None:
        """Add the event in ``data[start:end]``; `data` begins at byte `base` of the stream."""
        try:
            event = parse_event(data, start, end)
        except Damaged as error:
            self.faults.append(Fault(base + error.offset, error.kind, error.detail))
            return
        self.faults += [
            Fault(base + offset, kind, detail, "a value") for offset, kind, detail in event.faults
        ]
        self.n_events += bool(event.values or event.other or not event.faults)
        self.other.update(event.other)
        when = (event.step, event.wall_time)
        for value in event.values:
            if isinstance(value, tuple):
                tag, number, metadata = value
                self._add_scalar(self._number(tag, metadata), *when, number)
            else:
                tag_number = self._number(value.tag, value.metadata)
                place = (base + value.start, value.end - value.start)
                self._add_blob(tag_number, _NUMBERS[value.kind], *when, *place)

    @abstractmethod
    def _number(self, tag: bytes, metadata: bytes | None) -> int:
        """Give a tag its number, in the order of first appearance; keep its first metadata."""

    @abstractmethod
    def _add_scalar(self, tag: int, step: int, wall_time: float, value: float) -> None: ...

    @abstractmethod
    def _add_blob(
        self, tag: int, kind: int, step: int, wall_time: float, offset: int, length: int
    ) -> None: ...

    @abstractmethod
    def content(self) -> Content:
        """All that was collected."""


class EventColumns(EventCollector):
    """Collects events in pure Python."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[bytes, int] = {}
        self._metadata: list[bytes | None] = []
        self._rows = bytearray()
        self._blobs = bytearray()

    def take(self, block: Block) -> None:
        """Add the events of a block of records."""
        data, base = block.data, block.base
        for start, end in zip(block.starts, block.ends, strict=True):
            common = common_event(data, start, end)
            if common is None:
                self.take_event(data, base, start, end)
                continue
            wall_time, step, scalars = common
            self.n_events += 1
            for tag, value, metadata in scalars:
                self._add_scalar(self._number(tag, metadata), step, wall_time, value)

    def _number(self, tag: bytes, metadata: bytes | None) -> int:
        """Give a tag its number, in the order of first appearance; keep its first metadata."""
        number = self._numbers.get(tag)
        if number is None:
            number = self._numbers[tag] = len(self._metadata)
            self._metadata.append(metadata)
        elif metadata is not None and self._metadata[number] is None:
            self._metadata[number] = metadata
        return number

    def _add_scalar(self, tag: int, step: int, wall_time: float, value: float) -> None:
        self._rows += _ROW.pack(tag, step, wall_time, value)

    def _add_blob(
        self, tag: int, kind: int, step: int, wall_time: float, offset: int, length: int
    ) -> None:
        self._blobs += _BLOB.pack(tag, kind, step, wall_time, offset, length)

    def content(self) -> Content:
        """All that was collected."""
        tags, renamed = readable_tags(self._numbers)
        rows = np.frombuffer(self._rows, _ROWS)
        blobs = np.frombuffer(self._blobs, _BLOBS)
        described = dict(enumerate(self._metadata))
        return Content(
            _columns(tags, rows),
            blob_index(tags, blobs["tag"], blobs["kind"], _fields(blobs), described),
            self.other + blobs_by_kind(blobs["kind"]),
            self.faults,
            self.n_events,
            renamed,
        )


def _fields(blobs: npt.NDArray[np.void]) -> list[npt.NDArray[np.generic]]:
    return [blobs[name] for name in ("step", "wall_time", "offset", "length")]


def _columns(tags: Sequence[str], rows: npt.NDArray[np.void]) -> Columns:
    numbers = rows["tag"]
    if len(tags) <= 1 << 16:
        # Numbers of two bytes are sorted by radix.
        numbers = numbers.astype(np.uint16)
    order = np.argsort(numbers, kind="stable")
    counts = np.bincount(rows["tag"], minlength=len(tags))
    return grouped_columns(
        tags, counts, rows["step"][order], rows["value"][order], rows["wall_time"][order]
    )


def grouped_columns(
    tags: Sequence[str],
    counts: npt.NDArray[np.int64],
    steps: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    wall_times: npt.NDArray[np.float64],
) -> Columns:
    """Columns of the tags that have scalars, from rows ordered by tag and rows per tag."""
    present = np.flatnonzero(counts)
    named = tags if len(present) == len(tags) else [tags[number] for number in present.tolist()]
    bounds = np.concatenate([[0], np.cumsum(counts[present])])
    return Columns(named, bounds, steps, values, wall_times)


def blob_index(
    tags: Sequence[str],
    numbers: npt.NDArray[np.integer],
    kinds: npt.NDArray[np.integer],
    rows: Sequence[npt.NDArray[np.generic]],
    metadata: Mapping[int, bytes | None],
) -> BlobIndex:
    """Index of blobs; `metadata` (a SummaryMetadata) by the number of a tag."""
    if not len(numbers):
        return BlobIndex()
    described = ((number, metadata.get(number)) for number in np.unique(numbers).tolist())
    plugins = {number: plugin_of(message) for number, message in described if message}
    return BlobIndex(BlobTags(tags, numbers, kinds, rows, plugins))


def blobs_by_kind(kinds: npt.NDArray[np.integer]) -> Counter[str]:
    """Count blobs by the name of their kind."""
    counts = np.bincount(kinds, minlength=len(KINDS)).tolist()
    return Counter({str(kind): count for kind, count in zip(KINDS, counts, strict=True) if count})


def plugin_of(metadata: bytes) -> tuple[str, bytes]:
    """Name and content of the plugin in a SummaryMetadata, as far as it can be read."""
    name, content = b"", b""
    try:
        for number, wire, first, last in fields(metadata, 0, len(metadata)):
            if (number, wire) != (1, LENGTH):
                continue
            for inner, kind, start, end in fields(metadata, first, last):
                if (inner, kind) == (1, LENGTH):
                    name = metadata[start:end]
                elif (inner, kind) == (2, LENGTH):
                    content = metadata[start:end]
    except Damaged:
        return "", b""
    return name.decode("utf-8", "backslashreplace"), content


def readable_tags(tags: Iterable[bytes]) -> tuple[list[str], int]:
    """Tags as text, distinct as they are, and how many of them are no UTF-8."""
    named: list[str] = []
    escaped: list[int] = []
    for raw in tags:
        try:
            named.append(raw.decode("utf-8"))
        except UnicodeDecodeError:
            escaped.append(len(named))
            named.append(raw.decode("utf-8", "backslashreplace"))
    if escaped:
        taken = set(named)
        _tell_apart(named, taken)
    return named, len(escaped)


def _tell_apart(named: list[str], taken: set[str]) -> None:
    """Mark the later ones of equal names, by a name that nothing else has."""
    seen: set[str] = set()
    for index, name in enumerate(named):
        while name in seen or (name != named[index] and name in taken):
            name += "'"
        named[index] = name
        seen.add(name)
