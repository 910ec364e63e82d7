"""Event files joined to writers: one per directory, more where several wrote at the same time.

A restarted run adds a file, whose steps may go back: nothing is purged. Two processes that write
into one directory at the same time are two writers, and are told apart by wall time.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from forensics.sources.events.columns import Column
from forensics.sources.events.event_file import EventFile

Period = tuple[float, float]


@dataclass(slots=True)
class Writer:
    """What one writer wrote, its files in the order in which they were begun.

    Attributes
    ----------
    name : str
        Directory relative to the log directory (``.`` for itself), with ``#2``, ``#3``, ... for
        further writers of the same directory.
    files : list of EventFile
    """

    name: str
    files: list[EventFile] = field(default_factory=list)
    _periods: dict[Hashable, Period] = field(default_factory=dict)

    @property
    def lossy(self) -> bool:
        """Whether records are missing."""
        return any(file.lossy for file in self.files)

    @property
    def columns(self) -> dict[str, Column]:
        """Scalars by tag, those of all files one after the other."""
        if len(self.files) == 1:
            return dict(self.files[0].columns)
        found: dict[str, list[Column]] = {}
        for file in self.files:
            for tag, column in file.columns.items():
                found.setdefault(tag, []).append(column)
        return {tag: _joined(parts) for tag, parts in found.items()}

    def overlaps(self, periods: dict[Hashable, Period]) -> bool:
        """Whether something in these periods was written while this writer wrote it too."""
        for what, (first, last) in periods.items():
            low, high = self._periods.get(what, (np.inf, -np.inf))
            if first < high and low < last:
                return True
        return False

    def append(self, file: EventFile, periods: dict[Hashable, Period]) -> None:
        """Add a further file."""
        self.files.append(file)
        for what, (first, last) in periods.items():
            low, high = self._periods.get(what, (np.inf, -np.inf))
            self._periods[what] = min(first, low), max(last, high)


def join_writers(files: Iterable[EventFile]) -> list[Writer]:
    """Join event files to writers.

    Parameters
    ----------
    files : iterable of EventFile
        In the order in which they were begun.
    """
    by_folder: dict[str, list[EventFile]] = {}
    for file in files:
        by_folder.setdefault(str(PurePosixPath(file.input.path).parent), []).append(file)
    return [w for folder in sorted(by_folder) for w in _writers(folder, by_folder[folder])]


def _writers(folder: str, files: list[EventFile]) -> list[Writer]:
    """Writers of one directory."""
    if len(files) == 1:
        return [Writer(folder, files)]
    writers: list[Writer] = []
    for file in files:
        periods = dict(_periods(file))
        writer = next((w for w in writers if not w.overlaps(periods)), None)
        if writer is None:
            writer = Writer(f"{folder}#{len(writers) + 1}" if writers else folder)
            writers.append(writer)
        writer.append(file, periods)
    return writers


def _periods(file: EventFile) -> Iterator[tuple[Hashable, Period]]:
    """When each tag was written, from first to last; empty where the clock gave no number."""
    for tag, column in file.columns.items():
        yield tag, _period(column.wall_times)
    for key, where in file.blobs.tags.items():
        yield key, _period(where.wall_times)


def _period(wall_times: Any) -> Period:
    times: npt.NDArray[np.float64] = np.asarray(wall_times, np.float64)
    known = times[~np.isnan(times)]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)


def _joined(parts: list[Column]) -> Column:
    if len(parts) == 1:
        return parts[0]
    return Column(
        np.concatenate([part.steps for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.wall_times for part in parts]),
    )
