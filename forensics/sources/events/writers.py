"""Event files joined to writers: one per directory, more where several wrote at the same time.

A restarted run adds a file, whose steps may go back: nothing is purged. Two processes that write
into one directory at the same time are two writers, and are told apart by wall time.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np

from forensics.sources.events.columns import Columns, joined
from forensics.sources.events.event_file import EventFile

Period = tuple[float, float]
_NEVER: Period = (math.inf, -math.inf)


@dataclass(slots=True)
class Writer:
    """What one writer wrote.

    Attributes
    ----------
    name : str
        Directory relative to the log directory (``.`` for itself), with ``#2``, ``#3``, ... for
        further writers of the same directory.
    files : list of EventFile
        In the order in which they were begun.
    """

    name: str
    files: list[EventFile] = field(default_factory=list)
    _periods: dict[Hashable, Period] = field(default_factory=dict)
    _timed: int = 0
    """Files whose periods are known: they are needed only where another file follows."""

    @property
    def columns(self) -> Columns:
        """Scalars by tag, joined in the order of the files."""
        return joined([file.columns for file in self.files])

    @property
    def lossy(self) -> bool:
        """Whether records are missing."""
        return any(file.lossy for file in self.files)

    def overlaps(self, periods: Iterable[tuple[Hashable, Period]]) -> bool:
        """Whether a tag was written in its period by this writer too."""
        for what, (first, last) in periods:
            low, high = self._period(what)
            if first < high and low < last:
                return True
        return False

    def append(self, file: EventFile) -> None:
        """Add a further file."""
        self.files.append(file)

    def _period(self, what: Hashable) -> Period:
        for file in self.files[self._timed :]:
            for name, (first, last) in _periods(file):
                low, high = self._periods.get(name, (first, last))
                self._periods[name] = min(low, first), max(high, last)
        self._timed = len(self.files)
        return self._periods.get(what, _NEVER)


def join_writers(files: Iterable[EventFile]) -> list[Writer]:
    """Join event files to writers.

    Parameters
    ----------
    files : iterable of EventFile
        In the order in which they were begun.
    """
    by_folder: dict[str, list[Writer]] = {}
    for file in files:
        folder = str(PurePosixPath(file.input.path).parent)
        writers = by_folder.setdefault(folder, [])
        periods = list(_periods(file)) if writers else []
        writer = next((w for w in writers if not w.overlaps(periods)), None)
        if writer is None:
            name = f"{folder}#{len(writers) + 1}" if writers else folder
            writer = Writer(name)
            writers.append(writer)
        writer.append(file)
    return [writer for folder in sorted(by_folder) for writer in by_folder[folder]]


def _periods(file: EventFile) -> Iterator[tuple[Hashable, Period]]:
    """First and last wall time of each tag (and kind); without those that the clock did not time.

    Sessions and graphs have no tag: two processes may each have begun with one.
    """
    first, last = file.columns.periods()
    for tag, period in zip(
        file.columns.tags, zip(first.tolist(), last.tolist(), strict=True), strict=True
    ):
        if period[0] == period[0]:
            yield tag, period
    for (tag, kind), where in file.blobs.tags.items():
        times = where.wall_times[~np.isnan(where.wall_times)]
        if tag and len(times):
            yield (tag, kind), (float(times.min()), float(times.max()))
