"""One event file: opened without blocking, read once, unpacked, hashed, and judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain

from forensics.domain.run import InputFile, InputState, ReadWarning
from forensics.errors import Damaged
from forensics.sources.events.blob_index import BlobIndex
from forensics.sources.events.columns import Columns
from forensics.sources.events.event_columns import EventColumns
from forensics.sources.events.records import HEADER, RecordReader
from forensics.sources.events.span_checksums import header_verifies
from forensics.sources.storage.blob import Blob, NotRegular
from forensics.sources.storage.gzip_stream import MAGIC, Unpacker
from forensics.sources.storage.place import Place

KIND = "events"
_MAX_WARNINGS = 20
"""Damaged places of one file that are listed one by one."""


@dataclass(frozen=True, slots=True)
class EventFile:
    """What one event file holds.

    Parameters
    ----------
    input : InputFile
        What was read and how completely.
    columns : Columns
        Scalars by tag.
    blobs : BlobIndex
        Where the values lie that are no scalars.
    other : Counter of str
        Number of values that are no scalars and of other events, by kind.
    warnings : tuple of ReadWarning
        Every damaged place, denied access, malformed record.
    n_events : int
        Events understood.
    """

    input: InputFile
    columns: Columns = field(default_factory=Columns)
    blobs: BlobIndex = field(default_factory=BlobIndex)
    other: Counter[str] = field(default_factory=Counter)
    warnings: tuple[ReadWarning, ...] = ()
    n_events: int = 0

    @property
    def lossy(self) -> bool:
        """Whether records are missing from its middle."""
        return self.input.state in (InputState.DAMAGED, InputState.LIMIT)


@dataclass(slots=True)
class _Reading:
    """Progress of reading one file."""

    records: RecordReader
    packed: bool = False
    """Offsets are those of what the file unpacks to."""
    events: EventColumns = field(default_factory=EventColumns)
    size: int = 0
    cut: bool = False
    """The packed stream ends early."""
    stopped: Damaged | None = None
    """The packed stream is damaged, or too large."""


def read_event_file(place: Place, name: str) -> EventFile:
    """Read an event file, plain or gzip'd (told by its first bytes).

    Parameters
    ----------
    place : Place
        Where it lies.
    name : str
        Its name there, which is also its name in the report.

    Returns
    -------
    EventFile
        Never raises for what the file holds: damage, refusal and limits are warnings.
    """
    try:
        with place.open(name) as blob:
            reading = _take(blob)
            changed = blob.changed or reading.size != blob.size
            file = blob.identified(KIND, _state(reading, changed))
    except NotRegular:
        return _denied(name, "is no regular file (a FIFO, device or socket) and was not opened")
    except OSError as error:
        return _denied(name, f"cannot be read: {error.strerror or type(error).__name__}")
    content = reading.events.content()
    warnings = [*_warnings(name, reading)]
    if content.renamed:
        detail = f"{content.renamed} tag(s) are not UTF-8; their bytes are shown as escapes"
        warnings.append(ReadWarning(name, None, "tag_not_utf8", detail))
    return EventFile(
        replace(file, bytes=reading.size),
        content.columns,
        content.blobs,
        content.other,
        tuple(warnings),
        content.n_events,
    )


def _denied(name: str, why: str) -> EventFile:
    warning = ReadWarning(name, None, "denied", f"this file {why}")
    return EventFile(InputFile(name, KIND, 0, None, InputState.DENIED), warnings=(warning,))


def _take(blob: Blob) -> _Reading:
    pieces = blob.pieces()
    first = next(pieces, b"")
    packed = first.startswith(MAGIC) and not header_verifies(first[:HEADER])
    reading = _Reading(RecordReader(None if packed else blob.size), packed)
    unpack = Unpacker(blob.name, blob.size) if packed else None
    for piece in chain([first], pieces):
        reading.size += len(piece)
        if unpack is None:
            _feed(reading, piece)
        elif reading.stopped is None:
            try:
                for unpacked in unpack.feed(piece):
                    _feed(reading, unpacked)
            except Damaged as error:
                reading.stopped = error
    for block in reading.records.finish():
        reading.events.take(block)
    reading.cut = unpack is not None and reading.stopped is None and not unpack.complete
    return reading


def _feed(reading: _Reading, piece: bytes) -> None:
    for block in reading.records.feed(piece):
        reading.events.take(block)


def _warnings(name: str, reading: _Reading) -> Iterator[ReadWarning]:
    where = " (offsets are those of the unpacked stream)" if reading.packed else ""
    found = [
        ReadWarning(
            name,
            hole.offset,
            hole.kind,
            f"{hole.detail}: {_range(hole.offset, hole.length)}{where}",
        )
        for hole in reading.records.holes
    ]
    found += [
        ReadWarning(name, f.offset, f.kind, f"an event was left out: {f.detail}{where}")
        for f in reading.events.faults
    ]
    found.sort(key=lambda w: w.offset or 0)
    if reading.stopped is not None:
        error = reading.stopped
        found.insert(0, ReadWarning(name, error.offset, error.kind, error.detail))
    yield from found[:_MAX_WARNINGS]
    if len(found) > _MAX_WARNINGS:
        first = found[_MAX_WARNINGS]
        detail = f"{len(found) - _MAX_WARNINGS} more places like these{where}"
        yield ReadWarning(name, first.offset, first.kind, detail)


def _range(offset: int, length: int) -> str:
    return f"bytes [{offset}, {offset + length}) hold nothing readable"


def _state(reading: _Reading, changed: bool) -> InputState:
    stopped = reading.stopped
    if reading.records.gave_up or (stopped is not None and stopped.kind == "limit"):
        return InputState.LIMIT
    if stopped is not None or reading.records.holes or reading.events.faults:
        return InputState.DAMAGED
    if changed:
        return InputState.LIVE
    if reading.cut or reading.records.incomplete_tail is not None:
        return InputState.INCOMPLETE_TAIL
    return InputState.COMPLETE
