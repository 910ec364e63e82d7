"""Event files joined to writers: one per directory, more where several wrote at the same time.

A restarted run adds a file, whose steps may go back: nothing is purged. Two processes that write
into one directory at the same time are two writers, and are told apart by wall time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from forensics.sources.events.columns import Column
from forensics.sources.events.event_file import EventFile


@dataclass(slots=True)
class Writer:
    """What one writer wrote, its files joined in the order in which they were begun.

    Attributes
    ----------
    name : str
        Directory relative to the log directory (``.`` for itself), with ``#2``, ``#3``, ... for
        further writers of the same directory.
    columns : dict from str to Column
        Scalars by tag.
    lossy : bool
        Whether records are missing.
    """

    name: str
    columns: dict[str, Column] = field(default_factory=dict)
    lossy: bool = False

    def overlaps(self, file: EventFile) -> bool:
        """Whether a tag of `file` was written while this writer wrote it too."""
        for tag, column in file.columns.items():
            mine = self.columns.get(tag)
            if mine is not None:
                (first, last), (low, high) = _period(column), _period(mine)
                if first < high and low < last:
                    return True
        return False

    def append(self, file: EventFile) -> None:
        """Add the scalars of a further file."""
        self.lossy = self.lossy or file.lossy
        for tag, column in file.columns.items():
            mine = self.columns.setdefault(tag, Column())
            mine.steps.extend(column.steps)
            mine.values.extend(column.values)
            mine.wall_times.extend(column.wall_times)


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
        writer = next((w for w in writers if not w.overlaps(file)), None)
        if writer is None:
            name = f"{folder}#{len(writers) + 1}" if writers else folder
            writer = Writer(name)
            writers.append(writer)
        writer.append(file)
    return [writer for folder in sorted(by_folder) for writer in by_folder[folder]]


def _period(column: Column) -> tuple[float, float]:
    """First and last wall time; an empty period where the clock gave no number."""
    times = [time for time in column.wall_times if time == time]
    return (min(times), max(times)) if times else (0.0, 0.0)
