"""One event file: opened without blocking, read once, unpacked, hashed, and judged."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue

from forensics.domain.run import InputFile, InputState, ReadWarning
from forensics.sources.events.blob_index import BlobIndex
from forensics.sources.events.columns import Columns
from forensics.sources.events.event_stream import Hashing, Stream, Workspace, read_stream
from forensics.sources.events.records import MAX_LENGTH
from forensics.sources.events.tiers import PAYS, Tier, kernels
from forensics.sources.storage.blob import NotRegular
from forensics.sources.storage.place import Place

KIND = "events"
_MAX_WARNINGS = 20
"""Damaged places of one file that are listed one by one."""
_MOST_THREADS = 16


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


@dataclass(frozen=True, slots=True)
class Reading:
    """How event files are read.

    Parameters
    ----------
    verified_length : int
        Bytes of the longest record whose checksum is verified: all of them by default, `FAST` for
        speed. What was not verified is a warning.
    hashed : bool
        Whether inputs on a local disk are identified by their hash, which costs more than all else.
    tier : Tier
        By which of two ways, with one result.
    """

    verified_length: int = MAX_LENGTH
    hashed: bool = True
    tier: Tier = Tier.BEST


FAST = 4096
"""Bytes of the longest record that is verified in a hurry: every scalar is shorter."""
_EVERYTHING = Reading()


def read_event_files(
    place: Place, names: Sequence[str], how: Reading = _EVERYTHING
) -> list[EventFile]:
    """Read event files, several at a time where kernels do the work; in the order of the names.

    Parameters
    ----------
    place : Place
        Where they lie.
    names : sequence of str
        As listed by its survey.
    how : Reading
    """
    pending = _pending(place, names) if kernels(how.tier, 0) is None else 0
    module = kernels(how.tier, pending)
    if module is None:
        return [read_event_file(place, name, how) for name in names]
    from concurrent.futures import ThreadPoolExecutor

    workspaces: SimpleQueue[Workspace] = SimpleQueue()

    def work(name: str) -> EventFile:
        try:
            workspace = workspaces.get_nowait()
        except Empty:
            workspace = Workspace(module, how.verified_length)
        try:
            return _read(place, name, how, workspace)
        finally:
            workspaces.put(workspace)

    if place.local is None:
        # A bucket reads ahead by itself, in the order of the names.
        return [work(name) for name in names]
    with ThreadPoolExecutor(min(len(names), os.cpu_count() or 1, _MOST_THREADS) or 1) as pool:
        return list(pool.map(work, names))


def _pending(place: Place, names: Iterable[str]) -> int:
    """Bytes to be read, as far as that is known; no more are counted than are needed."""
    total = 0
    if place.local is None:
        return total
    for name in names:
        try:
            total += os.stat(f"{place.local}/{name}").st_size  # noqa: PTH116
        except OSError:
            continue
        if total >= PAYS:
            break
    return total


def read_event_file(place: Place, name: str, how: Reading = _EVERYTHING) -> EventFile:
    """Read an event file, plain or gzip'd (told by its first bytes).

    Parameters
    ----------
    place : Place
        Where it lies.
    name : str
        Its name there, which is also its name in the report.
    how : Reading

    Returns
    -------
    EventFile
        Never raises for what the file holds: damage, refusal and limits are warnings.
    """
    return _read(place, name, how, None)


def _read(place: Place, name: str, how: Reading, workspace: Workspace | None) -> EventFile:
    try:
        with place.open(name) as blob:
            if workspace is None and (module := kernels(how.tier, blob.size)) is not None:
                workspace = Workspace(module, how.verified_length)
            # Pure Python takes the pieces that a blob hashes itself.
            with Hashing(blob, wanted=how.hashed and workspace is not None) as hashing:
                stream = read_stream(blob, workspace, how.verified_length)
                hashing.finish()
            changed = blob.changed or stream.size != blob.size
            state = _state(stream, changed)
            if how.hashed or blob.descriptor is None:
                file = replace(blob.identified(KIND, state), bytes=stream.size)
            else:
                file = InputFile(name, KIND, stream.size, None, state)
    except NotRegular:
        return _denied(name, "is no regular file (a FIFO, device or socket) and was not opened")
    except OSError as error:
        return _denied(name, f"cannot be read: {error.strerror or type(error).__name__}")
    content = stream.content
    warnings = tuple(_warnings(name, stream, how))
    return EventFile(
        file, content.columns, content.blobs, content.other, warnings, content.n_events
    )


def _denied(name: str, why: str) -> EventFile:
    warning = ReadWarning(name, None, "denied", f"this file {why}")
    return EventFile(InputFile(name, KIND, 0, None, InputState.DENIED), warnings=(warning,))


def _warnings(name: str, stream: Stream, how: Reading) -> Iterator[ReadWarning]:
    yield from _damage(name, stream)
    if stream.records.unverified:
        detail = (
            f"{stream.records.unverified} record(s) of more than {how.verified_length} bytes were "
            "read without verifying their checksums, as asked"
        )
        yield ReadWarning(name, None, "not_verified", detail)
    if stream.content.renamed:
        detail = f"{stream.content.renamed} tag(s) are not UTF-8; their bytes are shown as escapes"
        yield ReadWarning(name, None, "tag_not_utf8", detail)


def _damage(name: str, stream: Stream) -> Iterator[ReadWarning]:
    where = " (offsets are those of the unpacked stream)" if stream.packed else ""
    found = [
        ReadWarning(
            name,
            hole.offset,
            hole.kind,
            f"{hole.detail}: {_range(hole.offset, hole.length)}{where}",
        )
        for hole in stream.records.holes
    ]
    found += [
        ReadWarning(name, f.offset, f.kind, f"{f.lost} was left out: {f.detail}{where}")
        for f in stream.content.faults
    ]
    found.sort(key=lambda w: w.offset or 0)
    if stream.stopped is not None:
        error = stream.stopped
        found.insert(0, ReadWarning(name, error.offset, error.kind, error.detail))
    yield from found[:_MAX_WARNINGS]
    if len(found) > _MAX_WARNINGS:
        first = found[_MAX_WARNINGS]
        detail = f"{len(found) - _MAX_WARNINGS} more places like these{where}"
        yield ReadWarning(name, first.offset, first.kind, detail)


def _range(offset: int, length: int) -> str:
    return f"bytes [{offset}, {offset + length}) hold nothing readable"


def _state(stream: Stream, changed: bool) -> InputState:
    stopped = stream.stopped
    if stream.records.gave_up or (stopped is not None and stopped.kind == "limit"):
        return InputState.LIMIT
    if stopped is not None or stream.records.holes or stream.content.faults:
        return InputState.DAMAGED
    if changed:
        return InputState.LIVE
    if stream.cut or stream.records.incomplete_tail is not None:
        return InputState.INCOMPLETE_TAIL
    return InputState.COMPLETE
