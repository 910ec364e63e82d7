"""Scalars of an event file, one column per tag, held in three arrays for all tags together.

A log may have a million tags: nothing is kept per tag but its name. Columns are views that are made
when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Column:
    """Scalars of one tag in the order they were written.

    Parameters
    ----------
    steps, values, wall_times : array of shape (n,)
        int64; float64; float64 seconds since the epoch.
    """

    steps: Integers
    values: Floats
    wall_times: Floats


class Columns(Mapping[str, Column]):
    """Columns by tag, in the order in which the tags first appeared.

    Parameters
    ----------
    tags : sequence of str
        Distinct.
    bounds : array of int64, shape (len(tags) + 1,)
        The rows of tag `i` are ``[bounds[i], bounds[i + 1])``.
    steps, values, wall_times : array
        Rows of all tags, one tag after the other; kept as `all_steps`, ...
    """

    __slots__ = ("_at", "all_steps", "all_values", "all_wall_times", "bounds", "tags")

    def __init__(
        self,
        tags: Sequence[str] = (),
        bounds: npt.ArrayLike = (0,),
        steps: Integers | None = None,
        values: Floats | None = None,
        wall_times: Floats | None = None,
    ) -> None:
        self.tags = tags
        self.bounds = np.asarray(bounds, np.int64)
        self.all_steps = np.zeros(0, np.int64) if steps is None else steps
        self.all_values = np.zeros(0, np.float64) if values is None else values
        self.all_wall_times = np.zeros(0, np.float64) if wall_times is None else wall_times
        self._at: dict[str, int] | None = None

    def __getitem__(self, tag: str) -> Column:
        if self._at is None:
            self._at = {name: index for index, name in enumerate(self.tags)}
        return self.column(self._at[tag])

    def __iter__(self) -> Iterator[str]:
        return iter(self.tags)

    def __len__(self) -> int:
        return len(self.tags)

    def column(self, index: int) -> Column:
        """Scalars of the tag with this number."""
        rows = slice(int(self.bounds[index]), int(self.bounds[index + 1]))
        return Column(self.all_steps[rows], self.all_values[rows], self.all_wall_times[rows])

    def periods(self) -> tuple[Floats, Floats]:
        """First and last wall time of every tag, NaN where the clock gave no number."""
        if not self.tags:
            return np.zeros(0), np.zeros(0)
        starts = self.bounds[:-1]
        return (
            np.fmin.reduceat(self.all_wall_times, starts),
            np.fmax.reduceat(self.all_wall_times, starts),
        )


def joined(columns: Sequence[Columns]) -> Columns:
    """Columns of several files as one: the rows of each tag one file after the other."""
    if len(columns) == 1:
        return columns[0]
    numbers: dict[str, int] = {}
    for part in columns:
        for tag in part.tags:
            numbers.setdefault(tag, len(numbers))
    of_rows = [
        np.repeat([numbers[tag] for tag in part.tags], np.diff(part.bounds)) for part in columns
    ]
    rows = np.concatenate(of_rows).astype(np.int64)
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=len(numbers))
    return Columns(
        list(numbers),
        np.concatenate([[0], np.cumsum(counts)]),
        np.concatenate([part.all_steps for part in columns])[order],
        np.concatenate([part.all_values for part in columns])[order],
        np.concatenate([part.all_wall_times for part in columns])[order],
    )
