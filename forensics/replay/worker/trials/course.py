"""Runs steps with a change in force, and tells how they went."""

from __future__ import annotations

import math
import time
from typing import Any, Dict, List, Optional

from ..case.entry import brief
from ..stepping.state import Snapshot
from ..stepping.stepper import EndOfData, Outcome, Stepper
from .change import Change

MAX_DROPPED = 0.1
"""Share of all rows that may be left out: with more gone it is another data set."""
MAX_OF_BATCH = 0.25
"""Share of the rows of one batch."""


class Tried:
    """How a run of steps went: first failing step (None: it survived) and the losses on the way."""

    def __init__(self) -> None:
        self.failed_at: Optional[int] = None
        self.symptom: Optional[str] = None
        self.outcome: Optional[Outcome] = None
        self.before: Optional[Snapshot] = None
        self.batch: Any = None
        self.rescued: Dict[int, Any] = {}
        """Batches that took the place of those a step failed with."""
        self.losses: List[float] = []
        self.steps: List[int] = []
        self.cut = False
        self.used = True
        self.dropped = 0
        self.seen = 0

    @property
    def survived(self) -> int:
        """Steps that went well."""
        return len(self.losses)

    @property
    def by_step(self) -> Dict[int, float]:
        """Loss of each step that went well."""
        return dict(zip(self.steps, self.losses))


class Runner:
    """Runs steps from a state.

    Parameters
    ----------
    stepper : Stepper
        Runs steps in the run's own mode.
    limit : float or None
        Loss above which a step counts as diverged.
    deadline : float
        `time.monotonic()` at which to stop.
    """

    def __init__(self, stepper: Stepper, limit: Optional[float], deadline: float) -> None:
        self.stepper, self.limit, self.deadline = stepper, limit, deadline

    def run(self, change: Change, start: int, snapshot: Snapshot, last: int) -> Tried:
        """Run the steps from `start` to `last`, which is called inside of `change.active()`."""
        tried, state = Tried(), self.stepper.state
        snapshot = change.values(snapshot)
        state.load(snapshot)
        bad_before = state.bad(snapshot)
        for index, step in enumerate(range(start, last + 1)):
            if time.monotonic() > self.deadline:
                tried.cut = True
                break
            try:
                batch = change.batch(step, self.stepper.batch(step))
            except EndOfData:
                break
            change.begin(index)
            before = state.snapshot() if change.rescues else None
            outcome = self._step(batch, bad_before)
            symptom = outcome.symptom_beyond(self.limit)
            if symptom is not None and before is not None:
                other = change.rescue(step, before, batch)
                if other is not None:
                    state.load(before)
                    outcome = self._step(other, bad_before)
                    symptom = outcome.symptom_beyond(self.limit)
                    tried.rescued[step] = other
            if symptom is not None:
                tried.failed_at, tried.symptom, tried.outcome = step, symptom, outcome
                tried.batch = batch
                break
            tried.steps.append(step)
            tried.losses.append(outcome.loss if outcome.loss is not None else math.nan)
        tried.dropped, tried.seen = change.dropped, change.seen
        return tried

    def fails(self, before: Snapshot, batch: Any, bad_before: Any) -> bool:
        """Whether a step from this state with this batch fails."""
        self.stepper.state.load(before)
        return self._step(batch, bad_before).symptom_beyond(self.limit) is not None

    def frozen(
        self, change: Change, snapshot: Snapshot, steps: List[int],
        batches: Optional[Dict[int, Any]] = None,
    ) -> Dict[int, float]:  # fmt: skip
        """Loss of each step with the weights of the start: what no training at all would give."""
        found: Dict[int, float] = {}
        snapshot = change.values(snapshot)
        for step in steps:
            if time.monotonic() > self.deadline:
                break
            try:
                batch = (batches or {}).get(step)
                if batch is None:
                    batch = change.batch(step, self.stepper.batch(step))
            except EndOfData:
                break
            self.stepper.state.load(snapshot)
            loss = self.stepper.own(batch).loss
            found[step] = math.nan if loss is None else loss
        return found

    def state_before(self, change: Change, start: int, snapshot: Snapshot, step: int) -> Snapshot:
        """Run up to `step` again and return the state before it."""
        self.stepper.state.load(change.values(snapshot))
        for index, at in enumerate(range(start, step)):
            change.begin(index)
            self.stepper.own(change.batch(at, self.stepper.batch(at)))
        return self.stepper.state.snapshot()

    def _step(self, batch: Any, bad_before: Any) -> Outcome:
        return self.stepper.judge(self.stepper.own(batch), bad_before)


def said(outcome: Optional[Outcome]) -> str:
    """Say of a step why it does not run, where it raised."""
    error = outcome.error if outcome is not None else None
    return brief(error) if error is not None else ""
