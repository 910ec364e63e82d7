"""Which rows of a set make it fail: independent groups, each as small as it gets.

The set is halved as long as a half fails, which finds every row that fails alone. Where neither
half does, rows fail only together: delta debugging (ddmin) looks for the smallest such group.
Then the same on what is left, until it no longer fails.

References
----------
Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE Transactions on
Software Engineering 28 (2), 2002.
"""

from __future__ import annotations

from typing import Callable, Dict, FrozenSet, List, Optional, Sequence

COARSEST = 8
"""When no eighth of a set can be left out, at least eight rows are needed: nobody looks at more
rows one by one, and ddmin would take a number of runs that grows with their square."""


class Exhausted(Exception):
    """No run is left; what was found up to here stands."""


class Group:
    """Rows that fail together and not without one another.

    `at_least` is below the number of rows where the search stopped early: a smaller group may
    fail, but none of fewer rows than that.
    """

    __slots__ = ("at_least", "rows")

    def __init__(self, rows: Sequence[int], at_least: int) -> None:
        self.rows, self.at_least = sorted(rows), at_least


class Minimiser:
    """Finds the groups.

    Parameters
    ----------
    fails : callable
        Whether a set of rows fails; raises `Exhausted` when it cannot be asked any more.
    look : callable, optional
        Is shown every group as soon as it is found; may raise to end the search.

    Notes
    -----
    A subset of a set that passes is taken to pass: no run is spent on it.
    """

    def __init__(
        self, fails: Callable[[List[int]], bool], look: Optional[Callable[[Group], None]] = None
    ) -> None:
        self._fails, self._look = fails, look
        self.asked: Dict[FrozenSet[int], bool] = {}
        """Answers by set of rows; what is known beforehand may be put in."""
        self.found: List[Group] = []

    def run(self, rows: Sequence[int]) -> None:
        """Fill `found` with the groups among `rows`.

        Raises
        ------
        Exhausted
            When the runs end before the search; `found` holds what is known by then.
        """
        rest = list(rows)
        while rest and self.ask(rest):
            self._split(rest)
            guilty = {row for group in self.found for row in group.rows}
            rest = [row for row in rest if row not in guilty]

    def add(self, group: Group) -> None:
        """Take a group that is known to fail."""
        self.found.append(group)
        if self._look is not None:
            self._look(group)

    def ask(self, rows: Sequence[int]) -> bool:
        """Whether these rows fail; the same question is asked once."""
        key = frozenset(rows)
        if key not in self.asked:
            if any(not failed and key <= other for other, failed in self.asked.items()):
                return False
            self.asked[key] = self._fails(list(rows))
        return self.asked[key]

    def _split(self, rows: List[int]) -> None:
        """Search a set that is known to fail."""
        if len(rows) == 1:
            self.add(Group(rows, 1))
            return
        failing = [half for half in cut(rows, 2) if self.ask(half)]
        for half in failing:
            self._split(half)
        if not failing:
            self.add(self._together(rows))

    def _together(self, rows: List[int]) -> Group:
        """Shrink a set that fails as a whole but by neither of its halves (ddmin)."""
        pieces = min(4, len(rows))
        while len(rows) > 2:
            chunks = cut(rows, pieces)
            smaller = next((c for c in chunks if self.ask(c)), None)
            if smaller is not None:
                rows, pieces = smaller, 2
                continue
            smaller = next((c for c in without_each(chunks) if self.ask(c)), None)
            if smaller is not None:
                rows, pieces = smaller, max(2, pieces - 1)
            elif pieces >= len(rows):
                break
            elif pieces >= COARSEST:
                return Group(rows, pieces)
            else:
                pieces = min(2 * pieces, len(rows))
        return Group(rows, len(rows))


def cut(rows: Sequence[int], pieces: int) -> List[List[int]]:
    """Cut a list into pieces of nearly equal length, none of them empty."""
    pieces = min(pieces, len(rows))
    ends = [len(rows) * i // pieces for i in range(pieces + 1)]
    return [list(rows[a:b]) for a, b in zip(ends, ends[1:])]


def without_each(chunks: List[List[int]]) -> List[List[int]]:
    """Everything but one of the chunks, for each of them."""
    return [
        [row for j, chunk in enumerate(chunks) if j != i for row in chunk]
        for i in range(len(chunks))
    ]
