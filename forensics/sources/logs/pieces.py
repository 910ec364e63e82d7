"""The content of a log in pieces: all of it, or beginning and end of what is too large."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from forensics.domain.run import InputState, ReadWarning
from forensics.errors import Damaged
from forensics.sources.storage.blob import Blob

BEGINNING, END = 64 << 20, 16 << 20
"""Bytes of a file that are read when it has more: some seconds of parsing."""
_PIECE = 1 << 20
_HOLE = 512
"""Zero bytes in a row that are a hole: what a file system gives for blocks that it lost."""


@dataclass(slots=True)
class Reader:
    """Reads a file once, from front to back.

    Parameters
    ----------
    blob : Blob
        The file.
    encoding : str
        UTF-16 may hold zero bytes.

    Attributes
    ----------
    state : InputState
        How completely it was read.
    """

    blob: Blob
    encoding: str = "utf-8"
    state: InputState = InputState.COMPLETE
    warnings: list[ReadWarning] = field(default_factory=list)

    def __iter__(self) -> Iterator[memoryview | None]:
        """Yield pieces, and None where a stretch was left out."""
        size = self.blob.size
        if size <= BEGINNING + END:
            yield from self._span(0, size)
            return
        yield from self._span(0, BEGINNING)
        start = (size - END) & ~1
        detail = f"bytes [{BEGINNING}, {start}) of {size} were not read: the log is too long"
        self.warnings.append(ReadWarning(self.blob.name, BEGINNING, "limit", detail))
        self.state = InputState.LIMIT
        yield None
        yield from self._span(start, size)

    def _span(self, start: int, stop: int) -> Iterator[memoryview]:
        for offset in range(start, stop, _PIECE):
            try:
                piece = self.blob.read(offset, min(_PIECE, stop - offset))
            except Damaged as error:
                self.note(error.offset, error.kind, error.detail)
                return
            if "16" not in self.encoding:
                self._look_for_holes(piece, offset)
            yield piece

    def _look_for_holes(self, piece: memoryview, offset: int) -> None:
        at = bytes(piece).find(bytes(_HOLE))
        if at >= 0 and not any(w.kind == "hole" for w in self.warnings):
            detail = "a hole of zero bytes begins here: what was printed there is lost"
            self.note(offset + at, "hole", detail)

    def remark(self, kind: str, detail: str) -> None:
        """Record what is no damage."""
        self.warnings.append(ReadWarning(self.blob.name, None, kind, detail))

    def note(self, offset: int | None, kind: str, detail: str) -> None:
        """Record damage."""
        self.warnings.append(ReadWarning(self.blob.name, offset, kind, detail))
        self.state = InputState.DAMAGED
