"""Histories that were saved several times while they grew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from forensics.sources.logs.curve import LogFile, LogWriter

TRAINER_STATE = "trainer_state.json"


def without_copies(files: Sequence[LogFile]) -> list[LogFile]:
    """Leave out the beginnings of a history of which another file holds more.

    The Hugging Face trainer saves the same growing history with every checkpoint.
    """
    states = [
        writer
        for file in files
        for writer in file.writers
        if PurePosixPath(writer.name).name == TRAINER_STATE
    ]
    copies = {id(w) for w in states if any(_is_copy(w, o) for o in states if o is not w)}
    for file in files:
        file.writers = [writer for writer in file.writers if id(writer) not in copies]
    return list(files)


def _is_copy(writer: LogWriter, other: LogWriter) -> bool:
    """Whether each curve of a writer is the beginning of the other's, which has more, or as much.

    Of two that are equal, the one with the shorter and then smaller path stays.
    """
    curves = {curve.tag: curve for curve in other.curves}
    for curve in writer.curves:
        longer = curves.get(curve.tag)
        n = len(curve.steps)
        if longer is None or curve.axis_key != longer.axis_key:
            return False
        if longer.steps[:n] != curve.steps or not _same(longer.values[:n], curve.values):
            return False
    sizes = [sum(len(c.steps) for c in w.curves) for w in (writer, other)]
    return sizes[0] < sizes[1] or (
        sizes[0] == sizes[1] and (len(other.name), other.name) < (len(writer.name), writer.name)
    )


def _same(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a == b or (a != a and b != b) for a, b in zip(one, other, strict=True))
