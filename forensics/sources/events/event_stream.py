"""The stream of an event file, read once: its records found, its events collected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from threading import Thread
from types import ModuleType, TracebackType
from typing import Any

from forensics.errors import Damaged
from forensics.sources.events.event_columns import Content, EventCollector, EventColumns
from forensics.sources.events.records import HEADER, MAX_LENGTH, RecordReader
from forensics.sources.events.span_checksums import header_verifies
from forensics.sources.storage.blob import Blob
from forensics.sources.storage.gzip_stream import MAGIC, Unpacker
from forensics.sources.storage.windows import Buffer, examine_file

_ASIDE = 4 << 20
"""Bytes from which a file is hashed in a thread beside the scan."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What was read of an event file.

    Parameters
    ----------
    content : Content
        What its events hold.
    records : RecordReader
        What was lost between them.
    size : int
        Bytes of the file that were read.
    packed : bool
        Offsets are those of what the file unpacks to.
    cut : bool
        The packed stream ends early.
    stopped : Damaged or None
        The packed stream is damaged, or too large.
    """

    content: Content
    records: RecordReader
    size: int
    packed: bool = False
    cut: bool = False
    stopped: Damaged | None = None


class Workspace:
    """Memory that event files are read with by kernels, one after the other.

    Parameters
    ----------
    kernels : module
        The compiled tier.
    verified_length : int
        Bytes of the longest record that is verified.
    """

    def __init__(self, kernels: ModuleType, verified_length: int) -> None:
        self._records = kernels.CompiledRecords
        self._verified_length = verified_length
        self.buffer = Buffer()
        self.columns: EventCollector = kernels.CompiledColumns(verified_length)

    def records(self, size: int | None) -> Any:
        """Make a reader of records for the next file."""
        self.columns.clear()
        return self._records(self.columns, size, self._verified_length)


def read_stream(blob: Blob, workspace: Workspace | None, verified_length: int) -> Stream:
    """Read an event file, plain or gzip'd (told by its first bytes).

    Parameters
    ----------
    blob : Blob
    workspace : Workspace or None
        None reads in pure Python.
    verified_length : int
        Bytes of the longest record that is verified.

    Raises
    ------
    OSError
        It cannot be read.
    """
    descriptor = blob.descriptor
    if workspace is None or descriptor is None or _is_packed(blob.head(HEADER)):
        return _read_pieces(blob, workspace, verified_length)
    records = workspace.records(blob.size)
    sparse = verified_length < MAX_LENGTH
    size = examine_file(descriptor, blob.size, records, workspace.buffer, sparse=sparse)
    return Stream(workspace.columns.content(), records, size)


def _read_pieces(blob: Blob, workspace: Workspace | None, verified_length: int) -> Stream:
    pieces = blob.pieces()
    first = next(pieces, b"")
    packed = _is_packed(first[:HEADER])
    known = None if packed else blob.size
    columns: EventCollector
    if workspace is None:
        columns, records = EventColumns(), RecordReader(known, verified_length)
    else:
        columns, records = workspace.columns, workspace.records(known)
    unpacked = _Unpacked(chain([first], pieces), Unpacker(blob.name, blob.size) if packed else None)
    for piece in unpacked.pieces():
        for block in records.feed(piece):
            columns.take(block)
    for block in records.finish():
        columns.take(block)
    return Stream(columns.content(), records, unpacked.size, packed, unpacked.cut, unpacked.stopped)


def _is_packed(head: bytes) -> bool:
    return head.startswith(MAGIC) and not header_verifies(head)


class _Unpacked:
    """Pieces of a stream, unpacked where there is an unpacker."""

    def __init__(self, raw: Iterator[bytes], unpacker: Unpacker | None) -> None:
        self._raw, self._unpacker = raw, unpacker
        self.size = 0
        self.stopped: Damaged | None = None

    def pieces(self) -> Iterator[bytes]:
        for piece in self._raw:
            self.size += len(piece)
            if self._unpacker is None:
                yield piece
            elif self.stopped is None:
                try:
                    yield from self._unpacker.feed(piece)
                except Damaged as error:
                    self.stopped = error

    @property
    def cut(self) -> bool:
        """Whether it ends early."""
        return not (self._unpacker is None or self.stopped or self._unpacker.complete)


class Hashing:
    """The hash of a file, in a thread beside whatever else is done with it.

    Parameters
    ----------
    blob : Blob
        On a local disk, or else nothing is done: `Blob.pieces` hashes what it hands out.
    wanted : bool
    """

    def __init__(self, blob: Blob, *, wanted: bool) -> None:
        self._blob = blob
        self._error: OSError | None = None
        aside = wanted and blob.descriptor is not None and blob.size >= _ASIDE
        self._thread = Thread(target=self._hash) if aside else None
        if self._thread is not None:
            self._thread.start()

    def __enter__(self) -> Hashing:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread is not None:
            self._thread.join()

    def finish(self) -> None:
        """Wait for the hash.

        Raises
        ------
        OSError
            The file cannot be read.
        """
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _hash(self) -> None:
        try:
            self._blob.sha256()
        except OSError as error:
            self._error = error
