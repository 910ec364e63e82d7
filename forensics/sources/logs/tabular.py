"""Rows of named numbers to curves: which of the columns says what a row belongs to.

Steps count batches and epochs count epochs, wherever a table comes from. Where both are given, a
step may count within its epoch, or a value may be one of a whole epoch that was written at the last
step of it (Lightning [1]_).

References
----------
.. [1] Lightning 2, ``loggers/csv_logs.py`` and ``trainer/connectors/logger_connector``: steps are
   the 0-based index of the batch; ``*_epoch`` and everything logged by ``on_epoch`` stands in the
   row of the epoch's last step.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from math import ceil, nan

from forensics.domain.quantity import Fidelity
from forensics.sources.logs.curve import Curve
from forensics.sources.logs.numbers import MOST_STEP
from forensics.sources.tags import Counting

MOST_COLUMNS = 5_000
"""Columns of a table that are kept."""
_NO_NUMBER = -1


@dataclass(slots=True)
class _Points:
    """A column: its step and epoch (-1 where there is none), exact epoch, value and time."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    epochs: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))
    times: array[float] = field(default_factory=lambda: array("d"))


@dataclass(slots=True)
class Table:
    """Collects rows.

    Parameters
    ----------
    fidelity : Fidelity
        How faithful the numbers are.
    counting : Counting
        What steps count, as far as the format tells.
    epochs_from : int or None
        What the format's first epoch is called; None where the rows have to tell.
    length : int or None
        Batches of an epoch where known.
    steps_are_calls : bool
        Steps only number the rows: where each epoch has one, the epoch says more.
    steps_are_dense : bool
        Where each step of an epoch has a row, the last one tells how long an epoch is.
    """

    fidelity: Fidelity = Fidelity.RECORD
    counting: Counting = Counting.UNSAID
    epochs_from: int | None = None
    length: int | None = None
    steps_are_calls: bool = False
    steps_are_dense: bool = True
    columns: dict[str, _Points] = field(default_factory=dict)
    overflow: bool = False

    def add(
        self,
        values: Iterable[tuple[str, float]],
        step: int | None = None,
        epoch: float | None = None,
        time: float = nan,
    ) -> None:
        """Take a row: what was measured, and where it belongs."""
        told = epoch is not None and 0 <= epoch <= MOST_STEP
        if step is None and not told:
            return
        at = _NO_NUMBER if step is None else step
        of = epoch if epoch is not None and told else nan
        for name, value in values:
            points = self.columns.get(name)
            if points is None:
                if len(self.columns) >= MOST_COLUMNS:
                    self.overflow = True
                    continue
                points = self.columns[name] = _Points()
            points.steps.append(at)
            points.epochs.append(of)
            points.values.append(value)
            points.times.append(time)

    def curves(self, *, lossy: bool = False) -> list[Curve]:
        """Return every column as a curve.

        Parameters
        ----------
        lossy : bool
            Whether rows are missing; that of epoch 0 may be one of them.
        """
        known = [e for points in self.columns.values() for e in points.epochs if e == e]
        partial = any(e != int(e) for e in known)
        first = self._first_epoch([] if lossy else known)
        length = self.length or _length(self.columns.values())
        return [
            self._by_epoch(name, points, first, partial)
            if self._is_by_epoch(name, points, length)
            else self._by_step(name, points, first)
            for name, points in self.columns.items()
        ]

    def _first_epoch(self, known: Sequence[float]) -> int:
        """Return what the first epoch is called: 1 where the rows begin with 1."""
        if self.epochs_from is not None:
            return self.epochs_from
        return int(bool(known) and min(known) == 1 and known[0] == 1)

    def _is_by_epoch(self, name: str, points: _Points, length: int | None) -> bool:
        """Whether epochs place the rows better than steps do."""
        if all(step == _NO_NUMBER for step in points.steps):
            return True
        if any(e != e for e in points.epochs):
            return False
        if name.endswith("_epoch") or _at_ends(points, length):
            return True
        if self.steps_are_calls and not _several_per_epoch(points):
            return True
        return _begin_again(points) and self._inner_length(points) is None

    def _inner_length(self, points: _Points) -> int | None:
        """Batches of an epoch, for steps that begin again with each epoch."""
        return self.length or (_counted(points) if self.steps_are_dense else None)

    def _by_epoch(self, name: str, points: _Points, first: int, partial: bool) -> Curve:
        places = [_epoch_of(e, partial) for e in points.epochs]
        curve = Curve(name, Counting.EPOCHS, self.fidelity, shift=0 if partial else first)
        return _filled(curve, places, points)

    def _by_step(self, name: str, points: _Points, first: int) -> Curve:
        places: Sequence[int] = points.steps
        told = all(e == e for e in points.epochs)
        length = self._inner_length(points) if told and _begin_again(points) else None
        if length is not None:
            starts = (max(int(e) - first, 0) * length for e in points.epochs)
            places = [start + step for start, step in zip(starts, places, strict=True)]
        return _filled(Curve(name, self.counting, self.fidelity), places, points)


def _filled(curve: Curve, places: Sequence[int], points: _Points) -> Curve:
    """Add the points that have a place; where all have one, nothing is copied."""
    if places and min(places) >= 0 and max(places) <= MOST_STEP:
        curve.steps = places if isinstance(places, array) else array("q", places)
        curve.values, curve.wall_times = points.values, points.times
        return curve
    kept = [0 <= place <= MOST_STEP for place in places]
    curve.steps.extend(compress(places, kept))
    curve.values.extend(compress(points.values, kept))
    curve.wall_times.extend(compress(points.times, kept))
    return curve


def _epoch_of(epoch: float, partial: bool) -> int:
    """Return the index of an epoch; a fraction says how much was done, 1.0 ends the first one."""
    if epoch != epoch:
        return _NO_NUMBER
    return max(ceil(epoch) - 1, 0) if partial else int(epoch)


def _begin_again(points: _Points) -> bool:
    """Whether steps go back, or stay, whenever the next epoch begins, and at least once."""
    turns = 0
    for i in range(1, len(points.steps)):
        if points.epochs[i] > points.epochs[i - 1]:
            if points.steps[i] > points.steps[i - 1]:
                return False
            turns += 1
    return turns > 0


def _counted(points: _Points) -> int | None:
    """Batches of an epoch, where each batch has a row and all epochs but the last are as long."""
    ends: dict[float, int] = {}
    for i, (step, epoch) in enumerate(zip(points.steps, points.epochs, strict=True)):
        if i and epoch == points.epochs[i - 1] and step != points.steps[i - 1] + 1:
            return None
        ends[epoch] = step
    whole = set(list(ends.values())[:-1])
    return whole.pop() + (min(points.steps) == 0) if len(whole) == 1 else None


def _at_ends(points: _Points, length: int | None) -> bool:
    """Whether a column has one value per epoch, each at the last step of its epoch."""
    if length is None or not len(points.steps):
        return False
    return all(
        e == int(e) and s + 1 == (e + 1) * length
        for s, e in zip(points.steps, points.epochs, strict=True)
    )


def _length(columns: Iterable[_Points]) -> int | None:
    """Batches of an epoch, where a column has one row per epoch, all equally far apart.

    One epoch alone tells it where another column has several rows in it.
    """
    known = list(columns)
    busy = any(_several_per_epoch(p) for p in known)
    for points in known:
        if any(e != e or e != int(e) for e in points.epochs) or not len(points.steps):
            continue
        if len(set(points.epochs)) < len(points.epochs) or min(points.steps) < 0:
            continue
        found = {(s + 1) / (e + 1) for s, e in zip(points.steps, points.epochs, strict=True)}
        if len(found) == 1 and (len(points.steps) > 1 or busy):
            length = found.pop()
            if length == int(length) and length > 1:
                return int(length)
    return None


def _several_per_epoch(points: _Points) -> bool:
    # every NaN would be another element
    known = [e for e in points.epochs if e == e]
    return len(set(known)) < len(known)
