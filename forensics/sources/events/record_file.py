"""A file of TFRecords: opened without blocking, read once, hashed; its records and its holes."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.domain.run import InputFile, InputState, ReadWarning
from forensics.sources.events.records import Block, RecordReader
from forensics.sources.storage.blob import Blob, NotRegular
from forensics.sources.storage.place import Place

_MAX_WARNINGS = 5


class RecordFile:
    """One pass over a file.

    Parameters
    ----------
    place : Place
        Where it lies.
    name : str
        Its name there.
    kind : str
        What it is an input of.

    Attributes
    ----------
    input : InputFile
        What was read and how completely; known once `blocks` is exhausted.
    warnings : list of ReadWarning
        Every obstacle; complete once `blocks` is exhausted.
    """

    def __init__(self, place: Place, name: str, kind: str) -> None:
        self.name, self.kind = name, kind
        self.input = InputFile(name, kind, 0, None, InputState.DENIED)
        self.warnings: list[ReadWarning] = []
        self._place = place

    def blocks(self) -> Iterator[Block]:
        """Sound records in order; what keeps the file from being read is a warning."""
        try:
            with self._place.open(self.name) as blob:
                yield from self._blocks(blob)
        except NotRegular:
            self._denied("is no regular file and was not opened")
        except OSError as error:
            self._denied(f"cannot be read: {error.strerror or type(error).__name__}")

    def _blocks(self, blob: Blob) -> Iterator[Block]:
        reader, size = RecordReader(blob.size), 0
        for piece in blob.pieces():
            size += len(piece)
            yield from reader.feed(piece)
        yield from reader.finish()
        for hole in reader.holes[:_MAX_WARNINGS]:
            detail = f"{hole.detail}: {hole.length} bytes hold nothing readable"
            self.warnings.append(ReadWarning(self.name, hole.offset, hole.kind, detail))
        self.input = blob.identified(self.kind, _state(reader, blob.changed or size != blob.size))

    def _denied(self, why: str) -> None:
        self.input = InputFile(self.name, self.kind, 0, None, InputState.DENIED)
        self.warnings.append(ReadWarning(self.name, None, "denied", f"this file {why}"))


def _state(reader: RecordReader, changed: bool) -> InputState:
    if reader.gave_up:
        return InputState.LIMIT
    if reader.holes:
        return InputState.DAMAGED
    if changed:
        return InputState.LIVE
    if reader.incomplete_tail is not None:
        return InputState.INCOMPLETE_TAIL
    return InputState.COMPLETE
