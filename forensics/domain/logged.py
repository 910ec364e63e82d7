"""What was logged beside scalars: found when a run is read, decoded when it is asked for.

The files are not kept open. A run only knows how to find the values again, and says so where that
is no longer possible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from forensics.domain.run import ReadWarning


class LoggedKind(StrEnum):
    """What a value is, whatever format it was written in."""

    HISTOGRAM = "histogram"
    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    TENSOR = "tensor"
    """Every other tensor of more or less than one element."""
    GRAPH = "graph"
    """Graphs, models and run metadata, as the bytes that were written."""
    HPARAMS = "hparams"
    MESSAGE = "message"
    SESSION = "session"
    """START, STOP and CHECKPOINT of a TensorFlow 1 session."""


COLUMNS: Mapping[LoggedKind, tuple[str, ...]] = {
    LoggedKind.HISTOGRAM: ("limits", "counts", "min", "max", "num", "sum", "sum_squares", "format"),
    LoggedKind.TEXT: ("text",),
    LoggedKind.IMAGE: ("index", "width", "height", "encoded"),
    LoggedKind.AUDIO: (
        *("index", "sample_rate", "channels", "length_frames", "content_type", "label", "encoded"),
    ),
    LoggedKind.TENSOR: ("plugin", "value"),
    LoggedKind.GRAPH: ("kind", "name", "data"),
    LoggedKind.HPARAMS: ("name", "value", "group", "status"),
    LoggedKind.MESSAGE: ("level", "message"),
    LoggedKind.SESSION: ("status", "checkpoint_path", "message"),
}
"""Columns of each kind, besides writer, tag, step and wall time."""


@dataclass(frozen=True, slots=True, eq=False)
class LoggedTag:
    """Decoded values of one tag of one writer, in the order they were written.

    Parameters
    ----------
    writer, tag : str
    steps, wall_times : array of shape (n,)
        Steps as logged; seconds since the epoch.
    columns : mapping of str to sequence of length n
        `COLUMNS` of its kind.
    """

    writer: str
    tag: str
    steps: npt.NDArray[np.int64]
    wall_times: npt.NDArray[np.float64]
    columns: Mapping[str, Sequence[Any] | npt.NDArray[Any]]

    def take(self, order: npt.NDArray[np.intp]) -> LoggedTag:
        """Return the values at these positions, in this order."""
        columns = {
            name: column[order] if isinstance(column, np.ndarray) else [column[i] for i in order]
            for name, column in self.columns.items()
        }
        return LoggedTag(self.writer, self.tag, self.steps[order], self.wall_times[order], columns)


def joined_tags(parts: Sequence[LoggedTag]) -> LoggedTag:
    """Values of one tag of one writer, one part after the other."""
    first = parts[0]
    if len(parts) == 1:
        return first
    columns: dict[str, Sequence[Any] | npt.NDArray[Any]] = {}
    for name in first.columns:
        pieces = [part.columns[name] for part in parts]
        if all(isinstance(piece, np.ndarray) for piece in pieces):
            columns[name] = np.concatenate(pieces)
        else:
            columns[name] = [item for piece in pieces for item in piece]
    return LoggedTag(
        first.writer,
        first.tag,
        np.concatenate([part.steps for part in parts]),
        np.concatenate([part.wall_times for part in parts]),
        columns,
    )


class Logged(Protocol):
    """Finds values again."""

    def read(self, kind: LoggedKind) -> tuple[tuple[LoggedTag, ...], tuple[ReadWarning, ...]]:
        """Decode all values of a kind.

        Returns
        -------
        tuple of LoggedTag
            By writer and tag.
        tuple of ReadWarning
            Values that are damaged and were left out.

        Raises
        ------
        InputChanged
            A file is gone, or is not what it was when the run was read.
        """
