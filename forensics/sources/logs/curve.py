"""What a log file holds: curves with an axis that its format tells, not its tags."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any

import numpy as np

from forensics.domain.quantity import Fidelity, Quantity
from forensics.domain.run import InputFile, ReadWarning
from forensics.sources.step_axes import Draft
from forensics.sources.tags import Counting, Meaning, meaning

RUNNING_MEAN = "{} (running mean)"
"""Tag of what a progress bar shows: the mean over the epoch so far."""


@dataclass(slots=True)
class Curve:
    """One tag of one writer, as a log gives it.

    Attributes
    ----------
    tag : str
        As written.
    counting : Counting
        What the steps count, as far as the format tells.
    fidelity : Fidelity
        How faithful the values are.
    shift : int
        What is to be subtracted from epochs to count them from 0.
    quantity : Quantity or None
        What it measures where the format tells; else the tag decides.
    watched : bool
        Whether every step was looked at for NaN and Inf.
    steps, values, wall_times : array
        In the order they were written; a wall time that nothing tells is NaN.
    """

    tag: str
    counting: Counting = Counting.UNSAID
    fidelity: Fidelity = Fidelity.RECORD
    shift: int = 0
    quantity: Quantity | None = None
    watched: bool = False
    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    wall_times: array[float] = field(default_factory=lambda: array("d"))

    @property
    def axis_key(self) -> tuple[Counting, int]:
        """What its steps count, and from where."""
        return self.counting, self.shift

    def add(self, step: int, value: float, wall_time: float = nan) -> None:
        """Append a point."""
        self.steps.append(step)
        self.values.append(value)
        self.wall_times.append(wall_time)


@dataclass(slots=True)
class LogWriter:
    """The curves of one training that a file, or the directory of a tracker, tells of.

    Attributes
    ----------
    name : str
        Path of the file relative to the log directory, with ``#2``, ... for further trainings.
    place : str
        The path in whose words a plain ``loss`` may turn out to be a validation loss.
    """

    name: str
    place: str
    curves: list[Curve] = field(default_factory=list)
    lossy: bool = False

    def drafts(self) -> Iterable[Draft]:
        """Curves that are ready to be put on their axes."""
        for curve in self.curves:
            if curve.steps:
                yield self._draft(curve)

    def _draft(self, curve: Curve) -> Draft:
        told = meaning(curve.tag, self.place)
        counting = told.counting if curve.counting is Counting.UNSAID else curve.counting
        return Draft(
            writer=self.name,
            tag=curve.tag,
            meaning=Meaning(curve.quantity or told.quantity, counting, told.layer),
            steps=np.frombuffer(curve.steps, np.int64),
            values=np.frombuffer(curve.values, np.float64),
            wall_times=np.frombuffer(curve.wall_times, np.float64),
            lossy=self.lossy,
            shift=curve.shift,
            fidelity=curve.fidelity,
            watched=curve.watched,
        )


@dataclass(slots=True)
class LogFile:
    """What was read of one file; without an `input` it turned out to be no log.

    Attributes
    ----------
    run : str or None
        The directory that a tracker gave to this run alone.
    """

    writers: list[LogWriter] = field(default_factory=list)
    input: InputFile | None = None
    warnings: list[ReadWarning] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    run: str | None = None


@dataclass(slots=True)
class Logs:
    """All logs below a log directory.

    Attributes
    ----------
    files : sequence of LogFile
        In the order of their names.
    warnings : sequence of ReadWarning
        Of the search.
    """

    files: Sequence[LogFile] = ()
    warnings: Sequence[ReadWarning] = ()

    @property
    def runs(self) -> frozenset[str]:
        """Directories that a tracker keeps as runs of their own."""
        return frozenset(file.run for file in self.files if file.run is not None)

    @property
    def writers(self) -> list[LogWriter]:
        """Those of all files."""
        return [writer for file in self.files for writer in file.writers]

    @property
    def inputs(self) -> list[InputFile]:
        """The files that are logs."""
        return [file.input for file in self.files if file.input is not None]

    @property
    def all_warnings(self) -> list[ReadWarning]:
        """Those of the search and of all files."""
        return [*self.warnings, *(w for file in self.files for w in file.warnings)]

    @property
    def config(self) -> dict[str, Any]:
        """Settings on which no two files disagree."""
        merged: dict[str, Any] = {}
        disputed: set[str] = set()
        for file in self.files:
            for key, value in file.config.items():
                if merged.setdefault(key, value) != value:
                    disputed.add(key)
        return {key: value for key, value in merged.items() if key not in disputed}

    def drafts(self) -> Iterable[Draft]:
        """Curves of all writers."""
        for writer in self.writers:
            yield from writer.drafts()
