"""A file of TFRecords: opened without blocking, read once, hashed; its records and its holes."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from forensics.domain.run import InputFile, InputState, ReadWarning
from forensics.sources.events.records import Block, RecordReader

_PIECE = 1 << 20
_MAX_WARNINGS = 5


class RecordFile:
    """One pass over a file.

    Parameters
    ----------
    path : Path
        Where it lies.
    name : str
        What it is called in the report.
    kind : str
        What it is an input of.

    Attributes
    ----------
    warnings : list of ReadWarning
        Every obstacle; complete once `blocks` is exhausted.
    """

    def __init__(self, path: Path, name: str, kind: str) -> None:
        self.name, self.kind = name, kind
        self.warnings: list[ReadWarning] = []
        self._path = path
        self._size = 0
        self._digest = hashlib.sha256()
        self._state = InputState.DENIED

    @property
    def input(self) -> InputFile:
        """What was read and how completely; known once `blocks` is exhausted."""
        digest = None if self._state is InputState.DENIED else self._digest.hexdigest()
        return InputFile(self.name, self.kind, self._size, digest, self._state)

    def blocks(self) -> Iterator[Block]:
        """Sound records in order; what keeps the file from being read is a warning."""
        try:
            yield from self._blocks()
        except OSError as error:
            self._denied(f"cannot be read: {error.strerror or type(error).__name__}")

    def _blocks(self) -> Iterator[Block]:
        # looked at before it is opened too: opening some devices does something
        if not stat.S_ISREG(self._path.stat().st_mode):
            self._denied("is no regular file and was not opened")
            return
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        descriptor = os.open(self._path, flags)
        try:
            before = os.fstat(descriptor)
            reader = RecordReader(before.st_size)
            left = before.st_size
            while left > 0 and (piece := os.read(descriptor, min(left, _PIECE))):
                left -= len(piece)
                self._size += len(piece)
                self._digest.update(piece)
                yield from reader.feed(piece)
            yield from reader.finish()
            self._judge(reader, before.st_mtime_ns != os.fstat(descriptor).st_mtime_ns)
        finally:
            os.close(descriptor)

    def _judge(self, reader: RecordReader, changed: bool) -> None:
        for hole in reader.holes[:_MAX_WARNINGS]:
            detail = f"{hole.detail}: {hole.length} bytes hold nothing readable"
            self.warnings.append(ReadWarning(self.name, hole.offset, hole.kind, detail))
        if reader.gave_up:
            self._state = InputState.LIMIT
        elif reader.holes:
            self._state = InputState.DAMAGED
        elif changed:
            self._state = InputState.LIVE
        elif reader.incomplete_tail is not None:
            self._state = InputState.INCOMPLETE_TAIL
        else:
            self._state = InputState.COMPLETE

    def _denied(self, why: str) -> None:
        self._state = InputState.DENIED
        self.warnings.append(ReadWarning(self.name, None, "denied", f"this file {why}"))
