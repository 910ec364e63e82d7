"""Step forward from a checkpoint until the failure is met."""

from __future__ import annotations

import collections
import time
from pathlib import Path
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

from .entry import Case
from .restore import RestoreError, restore
from .state import State
from .stepper import EndOfData, Stepper

KEEP = 9
"""Snapshots kept while stepping: the failing step and eight before it, to start trials from."""
MARGIN = 10
"""Steps past the logged failure that are tried before another start is."""
SNAPSHOT_BYTES = 2 << 30


class Failure:
    """The step that failed, with the states and batches round it."""

    def __init__(self, step: int, before: Any, batch: Any, outcome: Any, symptom: str) -> None:
        self.step, self.before, self.batch = step, before, batch
        self.outcome, self.symptom = outcome, symptom
        self.healthy: Optional[Tuple[Any, Any]] = None
        self.trial_start: Tuple[int, Any] = (step, before)
        self.losses: List[float] = []


class Search:
    """Restores a start and steps forward.

    Parameters
    ----------
    request : dict
        What the parent asked.
    case, state, stepper : Case, State, Stepper
        What is run.
    deadline : float
        `time.monotonic()` at which to stop.
    notes : list of str
        Takes remarks for the report.
    progress : callable
        Takes one line at a time.
    """

    def __init__(
        self, request: Dict[str, Any], case: Case, state: State, stepper: Stepper,
        deadline: float, notes: List[str], progress: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.request, self.case, self.state, self.stepper = request, case, state, stepper
        self.deadline, self.notes, self.progress = deadline, notes, progress
        self.built = state.snapshot()
        self.started_from: Optional[str] = None

    def starts(self) -> List[Dict[str, Any]]:
        """Where a replay can start: checkpoints, newest first, and the built state at step 0."""
        starts = list(self.request["checkpoints"])[:3]
        if not any(c["step"] == 0 for c in starts):
            starts.append({"path": None, "step": 0, "format": None})
        return starts

    def enter(self, start: Dict[str, Any]) -> bool:
        """Bring the state to a start; False when it cannot be restored."""
        self.state.load(self.built)
        if start["path"] is None:
            self.started_from = None
            return True
        try:
            notes = restore(self.case, self.state, start["path"], start["format"])
        except RestoreError as error:
            self.notes.append(str(error))
            return False
        self.state.refresh()
        for note in notes:
            if note not in self.notes:
                self.notes.append(note)
        self.started_from = start["name"]
        return True

    def run(self) -> Optional[Failure]:
        """Step forward from each start until the failure is met."""
        last = self.request["last_step"]
        for start in self.starts():
            if time.monotonic() > self.deadline or start["step"] > last:
                continue
            if not self.enter(start):
                continue
            where = Path(start["path"]).name if start["path"] else "the built state"
            self.progress("stepping from %s to step %d" % (where, last))
            failure = self._forward(start["step"], last + MARGIN)
            if failure is not None:
                if start["path"] is None:
                    self.notes.append("the replay started from the state that the case builds")
                return failure
            self.notes.append(
                "steps %d to %d from %s stayed finite" % (start["step"], last + MARGIN, where)
            )
        return None

    def _forward(self, first: int, last: int) -> Optional[Failure]:
        recent: Deque[Tuple[int, Any, Any]] = collections.deque(maxlen=self._keep())
        limit = self.request["loss_limit"]
        losses: List[float] = []
        bad_before = self.state.bad()
        if bad_before and first == 0:
            self.notes.append(
                "the state is bad before the first step: %s" % ", ".join(list(bad_before)[:3])
            )
        entered = self.state.snapshot()
        for step in range(first, last + 1):
            if time.monotonic() > self.deadline:
                self.notes.append("stopped at step %d: no time left" % step)
                return None
            try:
                batch = self.stepper.batch(step)
            except EndOfData as error:
                self.notes.append("no batch for step %d (%s)" % (step, error))
                return None
            before = self.state.snapshot()
            outcome = self.stepper.own(batch)
            if step == first:
                self._adopt_new_variables(before)
            self.stepper.judge(outcome, bad_before)
            symptom = outcome.symptom
            if (
                symptom is None
                and limit is not None
                and outcome.loss is not None
                and outcome.loss > limit
            ):
                symptom = "diverged"
            recent.append((step, before, batch))
            if symptom is not None:
                return self._failure(recent, outcome, symptom, losses, (first, entered))
            if outcome.loss is not None:
                losses.append(outcome.loss)
        return None

    def _adopt_new_variables(self, before: Dict[int, Any]) -> None:
        """Take slots that the first step created into account, with the value they start from."""
        known = {id(v.resource) for v in self.state.variables}
        self.state.refresh()
        for variable in self.state.variables:
            if id(variable.resource) not in known:
                before[id(variable.resource)] = variable.read() * 0
                self.built.setdefault(id(variable.resource), variable.read() * 0)

    def _failure(self, recent: Deque[Tuple[int, Any, Any]], outcome: Any, symptom: str,
                 losses: List[float], entered: Tuple[int, Any]) -> Failure:  # fmt: skip
        step, before, batch = recent[-1]
        failure = Failure(step, before, batch, outcome, symptom)
        failure.losses = losses[-20:]
        if len(recent) > 1:
            failure.healthy = recent[-2][1:]
        failure.trial_start = entered if symptom == "diverged" else recent[0][:2]
        return failure

    def _keep(self) -> int:
        """Snapshots that fit: fewer for large models."""
        return max(2, min(KEEP, SNAPSHOT_BYTES // max(1, self.state.size())))
