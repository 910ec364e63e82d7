"""Remedies that are run: one change at a time, from before the failure, against a baseline."""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import numpy as np

from .state import Snapshot
from .stepper import EndOfData, Stepper

HORIZON = 50
"""Steps that a fix has to survive, unless the data ends before."""
CLIP = 1.0
TOLERANCE = 0.1
"""A loss this much (relative) above the healthy level is not back at it."""
WINDOW = 80
"""Losses before the failure that tell what its healthy level was."""

Change = Tuple[str, str, Optional[Callable[[], Any]]]
"""A remedy's slug, what is changed, and a context in which it is; None: it cannot be."""


class Tried:
    """How a run of steps went: first failing step (None: it survived) and the losses on the way."""

    def __init__(self) -> None:
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
    start, snapshot : int, Snapshot
        Step and state to start from.
    failing_step : int
        Where the baseline fails.
    limit : float or None
        Loss above which a step counts as diverged.
    deadline : float
        `time.monotonic()` at which to stop trying.
    losses : list of float
        Losses of the steps before the failure, in order.
    """

    def __init__(
        self, stepper: Stepper, start: int, snapshot: Snapshot, failing_step: int,
        limit: Optional[float], deadline: float, losses: List[float],
    ) -> None:  # fmt: skip
        self.stepper, self.start, self.snapshot = stepper, start, snapshot
        self.failing_step, self.limit, self.deadline = failing_step, limit, deadline
        self.healthy, self.falling = healthy_level(losses)

    def run(self) -> List[Dict[str, Any]]:
        """Every trial as the report's object; an empty list when the baseline does not fail."""
        baseline = self._try()
        if baseline.failed_at is None:
            return []
        described = "fails at step %d when run from step %d" % (baseline.failed_at, self.start)
        rows = [self._trial(change, baseline.failed_at, described) for change in self._changes()]
        self.stepper.retrace()
        self.stepper.state.load(self.snapshot)
        return rows

    def _trial(self, change: Change, baseline_failed_at: int, described: str) -> Dict[str, Any]:
        remedy, what, changed = change
        if changed is None:
            return _row(remedy, what, "not_applicable", described)
        if time.monotonic() > self.deadline:
            return _row(remedy, what + " (no time left)", "not_applicable", described)
        with changed() as used:
            self.stepper.retrace()
            tried = self._try()
        if not used:
            what += " (the step does not use it)"
            return _row(remedy, what, "not_applicable", described)
        status, why = self._verdict(tried, baseline_failed_at)
        row = _row(remedy, what + why, status, described)
        row.update(
            steps_survived=tried.survived,
            steps_tried=tried.survived + (tried.failed_at is not None),
            loss_before=self.healthy,
            loss_after=_level(tried.losses[-10:]),
        )
        return row

    def _try(self) -> Tried:
        tried = Tried()
        self.stepper.state.load(self.snapshot)
        bad_before = self.stepper.state.bad(self.snapshot)
        last = max(self.failing_step + HORIZON, self.start + HORIZON)
        for step in range(self.start, last + 1):
            if time.monotonic() > self.deadline:
                tried.cut = True
                break
            try:
                batch = self.stepper.batch(step)
            except EndOfData:
                break
            outcome = self.stepper.judge(self.stepper.own(batch), bad_before)
            if outcome.symptom_beyond(self.limit) is not None:
                tried.failed_at = step
                break
            tried.losses.append(outcome.loss if outcome.loss is not None else math.nan)
        return tried

    def _verdict(self, tried: Tried, baseline_failed_at: int) -> Tuple[str, str]:
        """Judge: `fixed` only if finite to the end and the loss is back on its healthy way.

        A step that returns no loss leaves the second half open: no more than `delayed` then.
        """
        if tried.failed_at is not None:
            return "delayed" if tried.failed_at > baseline_failed_at else "still_fails", ""
        if tried.cut:
            return "not_applicable", " (no time left)"
        if tried.survived <= self.failing_step - self.start:
            return "not_applicable", " (no more data)"
        begun, after = _level(tried.losses[:10]), _level(tried.losses[-10:])
        if after is None or begun is None:
            return "delayed", " (finite, but no loss tells whether it still learns)"
        healthy = begun if self.healthy is None else self.healthy
        if after > healthy + TOLERANCE * abs(healthy):
            return "still_fails", " (finite, but the loss does not come back to its level)"
        must_fall = self.falling or self.healthy is None
        if must_fall and tried.survived >= 20 and after >= begun:
            return "still_fails", " (finite, but the loss no longer falls)"
        return "fixed", ""

    # -- the changes
    def _changes(self) -> List[Change]:
        optimizers = [o for o in self.stepper.state.optimizers if not hasattr(o, "inner_optimizer")]
        known = [o for o in optimizers if hasattr(o, _UPDATE) and hasattr(o, _CLIPPING)]
        return [
            ("clip_global_norm", "global gradient norm clipped to %g" % CLIP,
             (lambda: _clipped(known)) if known else None),
            ("learning_rate_div_10", "learning rate divided by 10",
             (lambda: _slower(known, 10.0)) if known else None),
        ]  # fmt: skip


def healthy_level(losses: List[float]) -> Tuple[Optional[float], bool]:
    """Level of the loss before it went wrong, and whether it was falling there.

    The lowest of the medians of four windows: the last windows may hold the way up to the failure.
    """
    recent = [x for x in losses[-WINDOW:] if math.isfinite(x)]
    if not recent:
        return None, False
    parts = [float(np.median(p)) for p in np.array_split(recent, min(4, len(recent)))]
    lowest = int(np.argmin(parts))
    noise = float(np.median(np.abs(np.diff(recent)))) if len(recent) > 1 else 0.0
    return parts[lowest], lowest > 0 and parts[0] - parts[lowest] > noise


def _row(remedy: str, change: str, status: str, baseline: str) -> Dict[str, Any]:
    return {
        "remedy": remedy, "change": change, "status": status, "baseline": baseline,
        "steps_survived": None, "steps_tried": None, "loss_before": None, "loss_after": None,
        "rows_dropped": 0,
    }  # fmt: skip


def _level(losses: List[float]) -> Optional[float]:
    finite = [x for x in losses if math.isfinite(x)]
    return float(np.median(finite)) if finite else None


_UPDATE, _CLIPPING = "_backend_update_step", "_clip_gradients"


@contextlib.contextmanager
def _clipped(optimizers: List[Any]) -> Iterator[List[bool]]:
    """Clip in place of what the optimizers do; yields a list that fills when a step clips."""
    saved = [(o, o.clipnorm, o.global_clipnorm, o.clipvalue) for o in optimizers]

    def wrap(method: Callable[..., Any], used: List[bool]) -> Callable[..., Any]:
        def clip(self: Any, *args: Any, **kwargs: Any) -> Any:
            used.append(True)
            return method(self, *args, **kwargs)

        return clip

    try:
        for optimizer in optimizers:
            optimizer.clipnorm, optimizer.clipvalue = None, None
            optimizer.global_clipnorm = CLIP
        with _replaced(optimizers, _CLIPPING, wrap) as used:
            yield used
    finally:
        for optimizer, clipnorm, global_clipnorm, clipvalue in saved:
            optimizer.clipnorm, optimizer.global_clipnorm = clipnorm, global_clipnorm
            optimizer.clipvalue = clipvalue


@contextlib.contextmanager
def _slower(optimizers: List[Any], factor: float) -> Iterator[List[bool]]:
    """Divide the rate where it is used: variables and schedules alike, nothing is assigned."""
    inside = [False]

    def wrap(method: Callable[..., Any], used: List[bool]) -> Callable[..., Any]:
        def update(self: Any, grads: Any, variables: Any, learning_rate: Any) -> Any:
            used.append(True)
            # an override calls the method that it overrides: divide once
            rate = learning_rate if inside[0] else learning_rate / factor
            outer, inside[0] = inside[0], True
            try:
                return method(self, grads, variables, rate)
            finally:
                inside[0] = outer

        return update

    with _replaced(optimizers, _UPDATE, wrap) as used:
        yield used


@contextlib.contextmanager
def _replaced(optimizers: List[Any], name: str, wrap: Callable[..., Any]) -> Iterator[List[bool]]:
    """Wrap a method of the optimizers' classes within the block."""
    owners = {
        next(k for k in type(optimizer).__mro__ if name in vars(k)) for optimizer in optimizers
    }
    originals = [(owner, vars(owner)[name]) for owner in owners]
    used: List[bool] = []
    try:
        for owner, method in originals:
            setattr(owner, name, wrap(method, used))
        yield used
    finally:
        for owner, method in originals:
            setattr(owner, name, method)
