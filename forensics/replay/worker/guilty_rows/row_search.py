"""Runs a step on parts of its batch until the rows that make it fail are known."""

from __future__ import annotations

import time
from typing import Any, Callable, Iterable, Iterator, List, Optional, Tuple

from ..stepping.state import Snapshot
from ..stepping.stepper import Outcome, Stepper
from .minimise import Exhausted, Group, Minimiser
from .rows_found import RowsFound
from .subsets import BatchRows, Filler, Misfit, faint

MAX_RUNS = 400
ASKED_ALONE = 16
"""Rows that the trace named and that are also run alone; beyond them the trace is believed."""
COPIES_TRIED = 4
"""Rows of the failing batch that are tried as fillers where no other batch is known to be good."""
LOOKED_AT = 3
"""Groups of which it is asked whether they are guilty by themselves."""


class _Interchangeable(Exception):
    """Other rows would do as well as those that were found."""


class RowSearch:
    """Runs a step on parts of its batch.

    Parameters
    ----------
    stepper : Stepper
        Runs it, in the run's own mode.
    before : Snapshot
        State that every run starts from.
    batch : object
        The batch that fails.
    failed : callable
        Whether an outcome is the failure that is asked about.
    deadline : float
        `time.monotonic()` at which to stop.
    """

    def __init__(
        self, stepper: Stepper, before: Snapshot, batch: Any,
        failed: Callable[[Outcome], bool], deadline: float,
    ) -> None:  # fmt: skip
        self.stepper, self.before, self.batch = stepper, before, batch
        self.failed, self.deadline = failed, deadline
        self.parts = BatchRows(batch)
        self.runs, self._begun = 0, time.monotonic()
        self.filler: Optional[Filler] = None
        """Rows that took the place of others, once they are known to be good."""
        self._bad_before = stepper.state.bad(before)
        self._others_failed = 0
        self._inert: List[Optional[Filler]] = []

    def run(self, traced: List[int], others: Iterable[Tuple[str, Any]]) -> RowsFound:
        """Find the guilty rows.

        Parameters
        ----------
        traced : list of int
            Rows in which the trace saw the first bad value.
        others : iterable of (str, batch)
            Other batches, best first.
        """
        found = RowsFound()
        found.samples = list(traced)
        try:
            self._search(found, traced, others)
        except Exhausted:
            found.notes.append("rows: no time left after %d runs of the step" % self.runs)
        finally:
            self.stepper.state.load(self.before)
        return found

    @property
    def seconds_per_run(self) -> float:
        """What one run of the step took on average, in seconds; to be asked right after."""
        return (time.monotonic() - self._begun) / max(1, self.runs)

    def _search(
        self, found: RowsFound, traced: List[int], others: Iterable[Tuple[str, Any]]
    ) -> None:
        if not self.parts.count:
            found.notes.append("rows: the parts of the batch have no rows in common")
            return
        if not self.failed(self._outcome(self.batch)):
            found.notes.append("rows: the step did not fail when it was run again")
            return
        filler = next((f for f in self._fillers(traced, others) if self._good(f)), None)
        if filler is None:
            self._without_filler(found, traced)
            return
        self.filler = filler
        if self._others_failed and filler.source is self.batch:
            found.notes.append("rows of other batches make the step fail from this state too")
        groups: List[Group] = []
        finished = False
        try:
            self._groups(groups, traced, filler)
            finished = True
        finally:
            # alone they were run as far as ASKED_ALONE; where all of those failed, so will the rest
            asked = {(row,) for row in traced[:ASKED_ALONE]}
            believed = not finished or asked <= {tuple(g.rows) for g in groups}
            found.conclude(groups, traced if believed else [], self.parts.count)
            found.notes.insert(
                0, "asked of the step itself in %d runs: rows that were not asked about were "
                "replaced by %s" % (self.runs, filler.said)
            )  # fmt: skip

    def _groups(self, groups: List[Group], traced: List[int], filler: Filler) -> None:
        """Fill `groups` with the independent groups of rows that fail."""
        minimiser = Minimiser(
            lambda rows: self._fails(rows, filler),
            lambda group: self._by_itself(minimiser, group, filler),
        )
        minimiser.found = groups
        minimiser.asked[frozenset(range(self.parts.count))] = True
        try:
            minimiser.run(self._known(minimiser, traced))
        except _Interchangeable:
            groups.clear()
            weak = self._weak(filler)
            among_weak = Minimiser(lambda rows: weak is not None and self._fails(rows, weak))
            among_weak.found = groups
            among_weak.run(range(self.parts.count))

    def _known(self, minimiser: Minimiser, traced: List[int]) -> List[int]:
        """Ask the rows that the trace names alone; returns the rows that are still in question."""
        everything = list(range(self.parts.count))
        asked = traced[:ASKED_ALONE]
        if len(traced) == len(everything):
            return everything
        guilty = [row for row in asked if minimiser.ask([row])]
        minimiser.found.extend(Group([row], 1) for row in guilty)
        believed = traced if len(guilty) == len(asked) else guilty
        return [row for row in everything if row not in believed]

    def _by_itself(self, minimiser: Minimiser, group: Group, filler: Filler) -> None:
        """Tell a guilty group from any rows that tip over a sum which is nearly too large.

        Among rows that add next to nothing the first fails still; or it is the one without which
        the rest passes. Otherwise other rows would do as well.

        Raises
        ------
        _Interchangeable
            When it is not guilty by itself.
        """
        weak = self._weak(filler) if len(minimiser.found) <= LOOKED_AT else None
        if weak is None or self._fails(group.rows, weak):
            return
        rest = [row for row in range(self.parts.count) if row not in group.rows]
        others = rest[:: max(1, len(rest) // len(group.rows))][: len(group.rows)]
        spared = [row for row in range(self.parts.count) if row not in others]
        if minimiser.ask(rest) or not minimiser.ask(spared):
            raise _Interchangeable

    def _weak(self, filler: Filler) -> Optional[Filler]:
        """Rows that add next to nothing; None when they make the step fail themselves."""
        if not self._inert:
            weak = Filler(faint(filler.source), filler.rows, filler.said + ", divided by 100")
            self._inert.append(weak if self._good(weak) else None)
        return self._inert[0]

    # -- runs
    def _outcome(self, batch: Any) -> Outcome:
        if self.runs >= MAX_RUNS or time.monotonic() > self.deadline:
            raise Exhausted
        self.runs += 1
        self.stepper.state.load(self.before)
        outcome = self.stepper.own(batch)
        if outcome.symptom is None:
            self.stepper.judge(outcome, self._bad_before)
        return outcome

    def _fails(self, rows: List[int], filler: Filler) -> bool:
        return self.failed(self._outcome(self.parts.mixed(rows, filler)))

    # -- good rows
    def _fillers(self, traced: List[int], others: Iterable[Tuple[str, Any]]) -> Iterator[Filler]:
        """Rows that may be good, best first.

        Copies of one row of small values come before a whole healthy batch: where the failure is a
        sum over all rows, that batch may be nearly failing itself, and any row then looks guilty.
        """
        places = range(self.parts.count)
        for said, batch in others:
            rows = BatchRows(batch)
            if rows.count:
                mild = _mildest(rows)[0]
                yield Filler(batch, [mild] * len(places), "copies of row %d of %s" % (mild, said))
                yield Filler(batch, [i % rows.count for i in places], "the rows of %s" % said)
        others_own = [row for row in _mildest(self.parts) if row not in traced]
        for row in _spread(others_own, COPIES_TRIED):
            yield Filler(self.batch, [row] * len(places), "copies of its own row %d" % row)

    def _good(self, filler: Filler) -> bool:
        """Whether a batch of nothing but the filler passes."""
        try:
            outcome = self._outcome(self.parts.mixed((), filler))
        except Misfit:
            return False
        passes = not self.failed(outcome) and outcome.symptom is None
        self._others_failed += not passes and filler.source is not self.batch
        return passes

    # -- conclusions
    def _without_filler(self, found: RowsFound, traced: List[int]) -> None:
        if self._others_failed:
            found.samples = []
            found.notes.append(
                "no row makes the difference: from this state the step fails with rows of other "
                "batches too"
            )
        elif traced and len(traced) < self.parts.count:
            found.notes.append(
                "the rows are those of the trace; no other row is known to be good, so that they "
                "could not be run alone"
            )
        else:
            found.samples = []
            found.notes.append(
                "no row stands out: every row that was tried makes the step fail by itself"
            )


def _mildest(rows: BatchRows) -> List[int]:
    """Rows by how little they stand out."""
    magnitudes = rows.magnitudes()
    return sorted(range(rows.count), key=lambda row: magnitudes[row])


def _spread(rows: List[int], most: int) -> List[int]:
    """Rows from all over an ordered list, the first of it first."""
    return list(dict.fromkeys(rows[len(rows) * i // most] for i in range(most) if rows))
