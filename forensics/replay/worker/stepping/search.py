"""Step forward from a checkpoint until the failure is met."""

from __future__ import annotations

import collections
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from ..case.entry import Case
from ..case.restore import RestoreError, restore
from .contradiction import RISE, Evidence
from .failure import Course, Failure
from .given import batch_rows
from .losses import healthy_level
from .state import SLOT, Snapshot, State, newborn
from .stepper import EndOfData, Outcome, Stepper

KEEP = 9
"""Snapshots kept while stepping: the failing step and eight before it, to start trials from."""
MARGIN = 10
"""Steps past the logged failure that are tried before another start is."""
MAX_LEAD = 200
"""Steps that are run once more to reach the failure from an earlier start."""
SNAPSHOT_BYTES = 2 << 30


class Search:
    """Restores a start and steps forward.

    Parameters
    ----------
    request : dict
        What the parent asked.
    case, state, stepper : Case, State, Stepper
        What is run.
    built : Snapshot
        Values that the variables start from.
    deadline : float
        `time.monotonic()` at which to stop.
    notes : list of str
        Takes remarks for the report.
    progress : callable
        Takes one line at a time.
    """

    def __init__(
        self, request: Dict[str, Any], case: Case, state: State, stepper: Stepper,
        built: Snapshot, deadline: float, notes: List[str], progress: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.request, self.case, self.state, self.stepper = request, case, state, stepper
        self.built, self.deadline, self.notes, self.progress = built, deadline, notes, progress
        self.started_from: Optional[str] = None
        self.other: Optional[str] = None
        """What contradicts a failure that was met, when it is not the run's."""
        self.exact_losses: Dict[int, float] = {}
        """Losses of the steps that were run from a recorded state, to be compared with the log."""
        self._exact = False
        self._evidence = Evidence(request, stepper)
        self._restored = False
        self._unfit: Dict[str, str] = {}

    def starts(self) -> List[Dict[str, Any]]:
        """Where a replay can start: checkpoints, newest first, and the built state at step 0.

        A saved model that was named holds the state that is wanted.
        """
        starts = list(self.request["checkpoints"])
        built = {"path": None, "name": None, "format": None}
        built["step"] = step = self.request.get("built_step", 0)
        if self.request.get("source") == "keras_file":
            starts.insert(0, {**built, "name": Path(self.request["file"]).name})
        elif step or not any(c["step"] == 0 for c in starts):
            starts.append(built)
        # without its program a recording has no batches before the first that it kept
        return [s for s in starts if s["step"] >= self.case.first_step] or starts

    def enter(self, start: Dict[str, Any]) -> bool:
        """Bring the state to a start; False when it cannot be restored."""
        self.state.load(self.built)
        if start["path"] is not None:
            try:
                notes = restore(
                    self.case, self.state, start["path"], start["format"], start["step"]
                )
            except RestoreError as error:
                self._unfit[Path(start["path"]).name] = str(error)
                return False
            self._restored = True
            self.state.refresh()
            for note in notes:
                self._note(note)
        self.started_from = start["name"]
        self._exact = start["format"] == "recorded_state"
        return True

    @property
    def foreign(self) -> bool:
        """Whether there are checkpoints, and none of those that were tried fits the case."""
        return bool(self._unfit) and not self._restored

    def remarks(self) -> List[str]:
        """Say from which states the replay could not start; to be read before everything else."""
        if not self._unfit:
            return []
        names = list(self._unfit)
        what = "%s %s not fit the case: %s" % (
            ", ".join(names), "do" if len(names) > 1 else "does", self._unfit[names[0]]
        )  # fmt: skip
        if not self.foreign:
            return [what]
        return [
            "no checkpoint could be restored: the replay started from the state that the case "
            "builds (is it the program of this run?)",
            what,
        ]

    def after_the_end(self) -> Optional[Failure]:
        """Whether a step just after the last one that was logged raises an error.

        A program that such an error ends leaves finite logs and clean checkpoints.
        """
        ended, known = self.request["observe_step"], list(self.notes)
        starts = [s for s in self.starts() if 0 <= ended - s["step"] <= MAX_LEAD]
        if not starts or not self.enter(starts[0]):
            return None
        course = self._forward(starts[0]["step"], ended + self.request["log_spacing"])
        self.notes[:] = known
        if course.symptom != "raised" or course.step <= ended:
            return None
        if _odd_one(course):
            return None
        self._note(
            "nothing was logged after step %d: step %d raises an error" % (ended, course.step)
        )
        return self._failure(course, starts[1:])

    def run(self) -> Optional[Failure]:
        """Step forward from each start until the failure is met."""
        last = self.request["last_step"] + MARGIN
        starts = [s for s in self.starts() if s["step"] <= last - MARGIN]
        for index, start in enumerate(starts):
            if time.monotonic() > self.deadline or not self.enter(start):
                continue
            where = Path(start["path"]).name if start["path"] else "the built state"
            self.progress("stepping from %s to step %d" % (where, last - MARGIN))
            course = self._forward(start["step"], last)
            if course.symptom is None:
                if course.recent:
                    self._note(
                        "steps %d to %d from %s stayed finite" % (course.first, course.step, where)
                    )
            elif self._plausible(course):
                if start["path"] is None and start["name"] is None and not self.foreign:
                    self._note("the replay started from the state that the case builds")
                return self._failure(course, starts[index + 1 :])
        return None

    def _plausible(self, course: Course) -> bool:
        """Whether the run itself can have met this."""
        against = self._evidence.against(course)
        if against is not None:
            self.other = self.other or against
            if against != self.other:
                self._note(against)
            return False
        clean, step = self.request["clean_step"], course.step
        if clean is not None and step < clean:
            self._note("step %d fails already, before the run shows it (step %d)" % (step, clean))
        return True

    # -- stepping
    def _forward(self, first: int, last: int) -> Course:
        after = self.state.snapshot()
        course = Course(first, after, self._keep(after))
        bad_before = self.state.bad(after)
        if bad_before:
            names = ", ".join(list(bad_before)[:3])
            self._note("the state is bad before step %d: %s" % (first, names))
            # what was bad from the start shows when it is used
            last = max(last, self.request["shown_step"] + MARGIN)
        for step in range(first, last + 1):
            if time.monotonic() > self.deadline:
                self._note("stopped at step %d: no time left" % step)
                break
            try:
                batch = self.stepper.batch(step)
            except EndOfData as error:
                self._note("no batch for step %d (%s)" % (step, error))
                break
            before = after
            course.recent.append((step, before, batch))
            if step == first:
                course.outcome = self.first_step(before, batch)
                course.recent = collections.deque(course.recent, self._keep(before))
            else:
                course.outcome = self.stepper.own(batch)
            after = self.state.snapshot()
            self.stepper.judge(course.outcome, bad_before, after)
            course.symptom = course.outcome.symptom_beyond(self.request["loss_limit"])
            if course.symptom is not None:
                break
            if course.outcome.loss is not None:
                course.losses.append(course.outcome.loss)
                if self._exact:
                    self.exact_losses.setdefault(step, course.outcome.loss)
        return course

    def first_step(self, before: Snapshot, batch: Any) -> Outcome:
        """Run a first step; variables that it creates start from the values they are born with."""
        with newborn() as values:
            outcome = self.stepper.own(batch)
        self.state.refresh()
        for variable in self.state.variables:
            if variable.key not in before.values:
                value = variable.read()
                # those born in a graph are seen after their first update: slots start at zero
                value = values.get(variable.key, value * 0 if variable.role == SLOT else value)
                before.values[variable.key] = value
                self.built.values.setdefault(variable.key, value)
        return outcome

    def _keep(self, snapshot: Snapshot) -> int:
        """Snapshots that fit: fewer for large models."""
        return max(2, min(KEEP, SNAPSHOT_BYTES // max(1, snapshot.size())))

    # -- what surrounds the failure
    def _failure(self, course: Course, earlier: List[Dict[str, Any]]) -> Failure:
        assert course.outcome is not None and course.symptom is not None
        failure = Failure(course.recent[-1], course.outcome, course.symptom)
        failure.losses = course.losses
        if course.step - course.first < KEEP - 1 and course.first > 0:
            course = self._with_lead(course, earlier) or course
            failure.losses = course.losses or failure.losses
        if len(course.recent) > 1:
            failure.healthy = course.recent[-2][1:]
        rising = _rising(course.losses, len(course.recent) - 1)
        failure.trial_start = course.recent[0][:2]
        if course.symptom == "diverged" or (rising and failure.step - course.first <= MAX_LEAD):
            failure.trial_start = (course.first, course.entered)
        return failure

    def _with_lead(self, course: Course, earlier: List[Dict[str, Any]]) -> Optional[Course]:
        """Reach the same failure from an earlier start: remedies need steps before it."""
        started_from, known = self.started_from, list(self.notes)
        far_enough = [s for s in earlier if s["step"] <= course.step - KEEP + 1] or earlier[-1:]
        for start in far_enough[:1]:
            if course.step - start["step"] > MAX_LEAD or not self.enter(start):
                break
            self.progress("approaching step %d from step %d" % (course.step, start["step"]))
            longer = self._forward(start["step"], course.step)
            self.started_from, self.notes[:] = started_from, known
            if longer.symptom == course.symptom and longer.step == course.step:
                name = start["name"] or "the state that the case builds"
                self._note(
                    "step %d was reached again from %s, for the trials" % (course.step, name)
                )
                return longer
        self.started_from, self.notes[:] = started_from, known
        return None

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _odd_one(course: Course) -> bool:
    """Whether the last batch has a number of rows that none of those before it has.

    A run that knows its data does not step past it; a slice beyond the end does.
    """
    rows = [batch_rows(batch) for _, _, batch in course.recent]
    return len(rows) > 1 and rows[-1] not in rows[:-1]


def _rising(losses: List[float], kept: int) -> bool:
    """Whether the loss was on its way up when the oldest state that is kept was taken."""
    level, _ = healthy_level(losses)
    around = losses[-kept - 5 : -kept]
    return bool(kept > 0 and around and level and np.median(around) > RISE * abs(level))
