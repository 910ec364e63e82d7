"""Remedies that are run: one change at a time, from before the failure, against a baseline."""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any, Callable, Dict, Iterator, List, Optional

import numpy as np

from .state import Snapshot
from .stepper import EndOfData, Stepper

HORIZON = 50
"""Steps after the failing one that a fix has to survive."""
CLIP = 1.0
_RATE = "_get_current_learning_rate"


class Course:
    """How a run of steps went: first failing step (None: it survived) and the losses on the way."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.failed_at: Optional[int] = None
        self.losses: List[float] = []
        self.cut = False

    @property
    def survived(self) -> int:
        """Steps that went well."""
        return len(self.losses)


class Trials:
    """Runs the remedies.

    Parameters
    ----------
    stepper : Stepper
        Runs steps in the run's own mode.
    start, snapshot : int, dict
        Step and state to start from.
    failing_step : int
        Where the baseline fails.
    limit : float or None
        Loss above which a step counts as diverged.
    deadline : float
        `time.monotonic()` at which to stop trying.
    """

    def __init__(
        self, stepper: Stepper, start: int, snapshot: Snapshot, failing_step: int,
        limit: Optional[float], deadline: float, healthy_losses: List[float],
    ) -> None:  # fmt: skip
        self.stepper, self.start, self.snapshot = stepper, start, snapshot
        self.failing_step, self.limit, self.deadline = failing_step, limit, deadline
        self.healthy_losses = [x for x in healthy_losses if math.isfinite(x)]

    def run(self) -> List[Dict[str, Any]]:
        """Every trial as the report's object; an empty list when the baseline does not fail."""
        baseline = self._course()
        if baseline.failed_at is None:
            return []
        described = "fails at step %d" % baseline.failed_at
        trials = []
        for remedy, change, applied in self._changes():
            if applied is None:
                trials.append(_row(remedy, change, "not_applicable", described, None, None, None))
                continue
            if time.monotonic() > self.deadline:
                trials.append(
                    _row(
                        remedy,
                        change + " (no time left)",
                        "not_applicable",
                        described,
                        None,
                        None,
                        None,
                    )
                )
                continue
            with applied():
                self.stepper.retrace()
                course = self._course()
            trials.append(self._verdict(remedy, change, described, baseline, course))
        self.stepper.retrace()
        self.stepper.state.load(self.snapshot)
        return trials

    def _course(self) -> Course:
        course = Course(self.start)
        self.stepper.state.load(self.snapshot)
        bad_before = self.stepper.state.bad()
        for step in range(self.start, self.failing_step + HORIZON + 1):
            if time.monotonic() > self.deadline:
                course.cut = True
                break
            try:
                batch = self.stepper.batch(step)
            except EndOfData:
                break
            outcome = self.stepper.judge(self.stepper.own(batch), bad_before)
            over = self.limit is not None and outcome.loss is not None and outcome.loss > self.limit
            if outcome.symptom is not None or over:
                course.failed_at = step
                break
            course.losses.append(outcome.loss if outcome.loss is not None else math.nan)
        return course

    def _verdict(
        self, remedy: str, change: str, described: str, baseline: Course, course: Course
    ) -> Dict[str, Any]:
        """Judge a course: `fixed` only if finite and the loss falls as in the healthy part."""
        before = _level(self.healthy_losses or course.losses[:5])
        after = _level(course.losses[-10:])
        if course.failed_at is not None:
            assert baseline.failed_at is not None
            status = "delayed" if course.failed_at > baseline.failed_at else "still_fails"
        elif course.cut and course.survived <= self.failing_step - self.start:
            status, change = "not_applicable", change + " (no time left)"
        elif before is not None and after is not None and after > before + 0.1 * abs(before):
            status, change = "still_fails", change + " (finite, but the loss no longer falls)"
        else:
            status = "fixed"
        return _row(remedy, change, status, described, course, before, after)

    # -- the changes
    def _changes(self) -> List[Any]:
        optimizers = [o for o in self.stepper.state.optimizers if not hasattr(o, "inner_optimizer")]
        rate = [o for o in optimizers if _has_rate(o)]
        return [
            ("clip_global_norm", "global gradient norm clipped to %g" % CLIP,
             (lambda: _clipped(optimizers)) if optimizers else None),
            ("learning_rate_div_10", "learning rate divided by 10",
             (lambda: _slower(rate, 10.0)) if rate else None),
        ]  # fmt: skip


def _row(remedy: str, change: str, status: str, baseline: str, course: Optional[Course],
         before: Optional[float], after: Optional[float]) -> Dict[str, Any]:  # fmt: skip
    return {
        "remedy": remedy, "change": change, "status": status, "baseline": baseline,
        "steps_survived": course.survived if course else None,
        "steps_tried": course.survived + (course.failed_at is not None) if course else None,
        "loss_before": before, "loss_after": after, "rows_dropped": 0,
    }  # fmt: skip


def _level(losses: List[float]) -> Optional[float]:
    finite = [x for x in losses if math.isfinite(x)]
    return float(np.median(finite)) if finite else None


def _has_rate(optimizer: Any) -> bool:
    return hasattr(optimizer, "_learning_rate")


@contextlib.contextmanager
def _clipped(optimizers: List[Any]) -> Iterator[None]:
    saved = [(o, o.clipnorm, o.global_clipnorm, o.clipvalue) for o in optimizers]
    try:
        for optimizer in optimizers:
            optimizer.clipnorm, optimizer.clipvalue = None, None
            optimizer.global_clipnorm = CLIP
        yield
    finally:
        for optimizer, clipnorm, global_clipnorm, clipvalue in saved:
            optimizer.clipnorm, optimizer.global_clipnorm = clipnorm, global_clipnorm
            optimizer.clipvalue = clipvalue


@contextlib.contextmanager
def _slower(optimizers: List[Any], factor: float) -> Iterator[None]:
    """Divide the rate where it is used, so that variables and schedules are treated alike."""
    kinds = {type(o) for o in optimizers}
    originals: Dict[type, Any] = {}

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        def current(self: Any) -> Any:
            return method(self) / factor

        return current

    for kind in kinds:
        owner = next(k for k in kind.__mro__ if _RATE in vars(k))
        if owner not in originals:
            originals[owner] = vars(owner)[_RATE]
            setattr(owner, _RATE, wrap(originals[owner]))
    try:
        yield
    finally:
        for owner, method in originals.items():
            setattr(owner, _RATE, method)
