"""Trials of a run that fails: the baseline, the remedies in order, and what each came to."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Dict, List, Optional, Tuple

from ..case.entry import brief
from ..stepping.losses import LAST, level
from ..stepping.state import Snapshot
from ..stepping.stepper import Stepper
from .change import Change, Unfit
from .course import Runner, Tried, said
from .judge import COMPARED, NO_FALL, Judge
from .operations import SafeForm
from .plan import Plan, Wish
from .step_size import Controls

HORIZON = 50
"""Steps that a fix has to survive, unless the data ends before."""
LONGER = 250
"""Further steps where steps are cheap and the loss does not fall clearly within the horizon."""
CHEAP = 2.0
"""Seconds that the horizon may take for steps to be cheap."""
PROOFS = 2
"""Independent families of remedies that help: no more are tried then."""

Row = Dict[str, Any]


class Trials:
    """Runs the remedies.

    Parameters
    ----------
    stepper : Stepper
        Runs steps in the run's own mode.
    failure : Failure
        What failed, with the states round it and what the localiser said.
    origins : list of dict
        The origin and the other origins, as the report has them; empty when none was found.
    built : Snapshot
        Values that the variables start from.
    request : dict
        ``loss_limit``: loss above which a step counts as diverged, or None; ``logged_losses``:
        pairs of step and loss.
    deadline : float
        `time.monotonic()` at which to stop trying.
    """

    def __init__(
        self, stepper: Stepper, failure: Any, origins: List[Dict[str, Any]], built: Snapshot,
        request: Dict[str, Any], deadline: float,
    ) -> None:  # fmt: skip
        self.stepper, self.failure, self.origins = stepper, failure, origins
        self.built, self.request, self.deadline = built, request, deadline
        self.start, self.snapshot = failure.trial_start
        self.runner = Runner(stepper, request.get("loss_limit"), deadline)
        self.controls = Controls(stepper.state.optimizers)
        game = len(self.controls.optimizers) > 1
        self.judge = Judge(self.start, failure.step, failure.losses, game)
        self._baselines: Dict[int, Optional[int]] = {}
        self._families: List[str] = []
        self._changed = False
        """Whether compiled steps were traced with a change that is no longer in force."""
        self._fixed: List[str] = []

    def run(self) -> List[Row]:
        """Every trial as the report's object; an empty list when the baseline does not fail."""
        plan = Plan(self.stepper, self.failure, self.origins, self.built, self.controls,
                    self.runner, self.start, self.request.get("logged_losses") or [])  # fmt: skip
        try:
            rows = self._updates(plan)
            if rows is None and self.controls.by_tape is False:
                # none of the optimizers is the one that updates
                self.controls.by_tape = True
                rows = self._updates(plan)
            if rows is None:
                self.stepper.retrace()
                rows = [] if self._fails_again(Change()) else None
            self._changed = True
            if rows is not None:
                rows += [self._trial(wish) for wish in plan.rest()]
        finally:
            self.stepper.retrace()
            self.stepper.state.load(self.failure.before)
        return _best_first(rows or [])

    # -- the baseline
    def _updates(self, plan: Plan) -> Optional[List[Row]]:
        """Try the remedies of the update; None where the step does not take the controls."""
        norms: List[float] = []
        with self.controls.installed():
            self.stepper.retrace()
            if not self._fails_again(_Watching(self.controls, norms)) or not self.controls.used:
                return None
            self.controls.usual_norm = level(norms[1:])
            rows = [self._trial(wish) for wish in plan.updates()]
            while lower := plan.lower_still(rows):
                rows.append(self._trial(lower))
        return rows

    def _fails_again(self, watching: Change) -> bool:
        """Run the steps unchanged; whether they fail as they did before."""
        tried = self.runner.run(watching, self.start, self.snapshot, self._last(self.start))
        if tried.failed_at is None:
            return False
        if tried.symptom == "raised" and self.failure.symptom != "raised":
            return False
        self._baselines[self.start] = tried.failed_at
        frozen = self.runner.frozen(Change(), self.snapshot, tried.steps[-COMPARED:])
        self.judge.learn_from(tried, frozen)
        return True

    def _built_baseline(self, start: int) -> Optional[int]:
        """Step at which the run fails from the built state; None when it does not."""
        if start not in self._baselines or self._is_other(start):
            key = -1 - start
            if key not in self._baselines:
                self._traced_for(_UNCHANGED)
                tried = self.runner.run(Change(), start, self.built, self._last(start))
                self._baselines[key] = tried.failed_at
            return self._baselines[key]
        return self._baselines[start]

    def _is_other(self, start: int) -> bool:
        return start != self.start or self.snapshot is not self.built

    def _last(self, start: int) -> int:
        return int(max(self.failure.step, start)) + HORIZON

    # -- one trial
    def _trial(self, wish: Wish) -> Row:
        described = "fails at step %s when run from step %d" % (
            self._baselines.get(self.start), self.start,
        )  # fmt: skip
        if wish.change is None:
            return _row(wish.remedy, wish.what, "not_applicable", described)
        if wish.last_resort and self._families:
            return _row(wish.remedy, wish.what + " (not tried: the origin does not suggest it)",
                        "not_applicable", described)  # fmt: skip
        if len(set(self._families)) >= PROOFS and wish.optional:
            return _row(wish.remedy, wish.what + " (not tried: others are verified)",
                        "not_applicable", described)  # fmt: skip
        if wish.remedy in self._fixed:
            return _row(wish.remedy, wish.what + " (not tried: a milder form is verified)",
                        "not_applicable", described)  # fmt: skip
        if time.monotonic() > self.deadline:
            return _row(wish.remedy, wish.what + " (no time left)", "not_applicable", described)
        try:
            return self._tried(wish.change, described)
        except Unfit as error:
            return _row(wish.remedy, "%s (%s)" % (wish.what, error), "not_applicable", described)
        except Exception as error:
            return _row(wish.remedy, "%s (%s)" % (wish.what, brief(error)), "not_applicable",
                        described)  # fmt: skip

    def _tried(self, change: Change, described: str) -> Row:
        start, snapshot, fails_at = self.start, self.snapshot, self._baselines[self.start]
        if change.from_built:
            start, snapshot = max(0, self.failure.step - HORIZON), self.built
            fails_at = self._built_baseline(start)
            described = "fails at step %s when run from the built state at step %d" % (
                fails_at, start,
            )  # fmt: skip
            if fails_at is None:
                raise Unfit("from the built state the run does not fail without it either")
        assert fails_at is not None
        tried, status, why = self._judged(change, start, snapshot, fails_at)
        row = _row(change.remedy, change.what + why, status, described)
        if status != "not_applicable":
            row.update(
                steps_survived=tried.survived,
                steps_tried=tried.survived + (tried.failed_at is not None),
                loss_before=self.judge.healthy,
                loss_after=level(tried.losses[-LAST:]),
                rows_dropped=min(tried.dropped, tried.seen),
            )
        if status == "fixed":
            self._families.append(change.family)
            self._fixed.append(change.remedy)
        return row

    def _judged(
        self, change: Change, start: int, snapshot: Snapshot, fails_at: int
    ) -> Tuple[Tried, str, str]:
        last = self._last(start)
        while True:
            moved, begun = None, time.monotonic()
            with change.active() as used:
                self._traced_for(change)
                tried = self.runner.run(change, start, snapshot, last)
                if self._is_slow(change, tried, snapshot, start, fails_at, begun):
                    tried = self.runner.run(change, start, snapshot, last + LONGER)
                tried.used = bool(used)
                if tried.failed_at is not None and used and isinstance(change, SafeForm):
                    moved = self._moved(change, start, snapshot, tried)
                if moved is None:
                    verdict = self._verdict(change, tried, snapshot, start, fails_at)
            if isinstance(change, SafeForm):
                if not tried.used and change.widen():
                    continue
                if change.extend(moved):
                    continue
                if moved is not None:
                    verdict = self.judge.before(tried, fails_at) or ("still_fails", "")
            if not tried.used:
                return tried, "not_applicable", " (the step does not use it)"
            return (tried, *verdict)

    def _traced_for(self, change: Change) -> None:
        """Trace compiled steps anew, unless they are those that this change needs."""
        if change.retraces or self._changed:
            self.stepper.retrace()
        self._changed = change.retraces

    def _is_slow(
        self, change: Change, tried: Tried, snapshot: Snapshot, start: int, fails_at: int,
        begun: float,
    ) -> bool:  # fmt: skip
        """Whether a run goes well, and only more steps can tell whether it learns."""
        if self.judge.before(tried, fails_at) is not None or time.monotonic() > begun + CHEAP:
            return False
        return self._verdict(change, tried, snapshot, start, fails_at)[1].endswith(NO_FALL)

    def _verdict(
        self, change: Change, tried: Tried, snapshot: Snapshot, start: int, fails_at: int
    ) -> Tuple[str, str]:
        found = self.judge.before(tried, fails_at)
        if found is not None:
            status, why = found
            # a step that raises where the baseline did not is one that the change does not fit
            if tried.symptom == "raised" and self.failure.symptom != "raised":
                return "not_applicable", " (%s)" % said(tried.outcome)
            return status, why
        frozen = self.runner.frozen(change, snapshot, tried.steps[-COMPARED:], tried.rescued)
        return self.judge.after(change, tried, frozen)

    def _moved(
        self, change: Change, start: int, snapshot: Snapshot, tried: Tried
    ) -> Optional[Dict[str, Any]]:
        """Ask which op fails now, with the change in force."""
        from ..localising.localise import Localiser

        if tried.failed_at is None or tried.symptom == "diverged":
            return None
        if time.monotonic() > self.deadline - 3:
            return None
        before = self.runner.state_before(change, start, snapshot, tried.failed_at)
        with contextlib.suppress(Exception):
            found = Localiser(self.stepper, before, tried.batch, self.failure.healthy).run(
                tried.outcome  # type: ignore[arg-type]
            )
            return found.origin
        return None


class _Watching(Change):
    """No change; notes the gradient norm that each step left in the controls."""

    retraces = False

    def __init__(self, controls: Controls, norms: List[float]) -> None:
        self.controls, self.norms = controls, norms

    def begin(self, index: int) -> None:
        """Read the norm of the step before."""
        self.norms.append(float(self.controls.norm.numpy()))


_UNCHANGED = Change()
_UNCHANGED.retraces = False


def _row(remedy: str, change: str, status: str, baseline: str) -> Row:
    return {
        "remedy": remedy, "change": change, "status": status, "baseline": baseline,
        "steps_survived": None, "steps_tried": None, "loss_before": None, "loss_after": None,
        "rows_dropped": 0,
    }  # fmt: skip


_ORDER = {"fixed": 0, "delayed": 1, "still_fails": 2, "not_applicable": 3}


def _best_first(rows: List[Row]) -> List[Row]:
    return sorted(rows, key=lambda row: _ORDER[row["status"]])
