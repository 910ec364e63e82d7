"""When the run went wrong as far as logs and checkpoints tell: what a replay aims at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from forensics.domain.evidence import CurveEvidence, TensorEvidence
from forensics.domain.findings import Finding, Severity
from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.run import CheckpointStatus, Run, Series
from forensics.pipeline.epochs import batches_per_epoch, last_logged

NON_FINITE_SCALAR, NON_FINITE_STATE, DIVERGING_LOSS = "NUM001", "NUM002", "LOS001"

BLIND_STEPS = 10_000
"""How far a replay looks when nothing tells how many batches the run had. A bound of effort only:
the replay also stops at its deadline and at the end of the data."""


@dataclass(frozen=True, slots=True)
class Target:
    """The failure that logs and checkpoints show.

    Parameters
    ----------
    symptom : str
        ``non_finite``, ``diverged`` or ``none``.
    step : int or None
        First step at which it is seen, on ``axis``; None when only an interval is known.
    interval : tuple of int or None
        (lo, hi) inclusive, on ``axis``: from the last step seen clean to the first seen bad. The
        step seen clean is in it, because a loss is computed before the update of its step.
    axis : StepAxis
        Whether `step` and `interval` count batches or epochs.
    tag : str or None
        The curve or the tensor that shows it.
    loss_limit : float or None
        For ``diverged``: a loss above it belongs to the failure.
    suspicions : tuple of str
        Codes of all findings that are no mere remarks.
    """

    symptom: str = "none"
    step: int | None = None
    interval: tuple[int, int] | None = None
    axis: StepAxis = StepAxis.BATCH
    tag: str | None = None
    loss_limit: float | None = None
    suspicions: tuple[str, ...] = ()

    @property
    def batch_step(self) -> int | None:
        """The step where it counts batches, else None."""
        return self.step if self.axis is StepAxis.BATCH else None

    def search_interval(self, run: Run) -> tuple[int, int] | None:
        """Batches in which a replay has to look; all known ones when the batch is not known."""
        if self.symptom == "none":
            return None
        if self.axis is StepAxis.BATCH and self.interval is not None:
            return self.interval
        return 0, max(_batch_steps(run), default=BLIND_STEPS)


def find_target(run: Run, findings: Sequence[Finding]) -> Target:
    """Date the failure from the findings; symptom ``none`` when there is none."""
    codes = tuple(dict.fromkeys(f.code for f in findings if f.severity is not Severity.INFO))
    return replace(_dated(run, findings), suspicions=codes)


def _dated(run: Run, findings: Sequence[Finding]) -> Target:
    errors = [f for f in findings if f.severity is Severity.ERROR and f.onset_step is not None]
    state = [f for f in errors if f.code == NON_FINITE_STATE]
    scalars = [f for f in errors if f.code == NON_FINITE_SCALAR]
    non_finite = _first(run, state, [f for f in scalars if not _is_gradient(run, f)])
    if non_finite is not None:
        return _earlier_gradient(run, scalars, non_finite)
    if scalars:
        return _first(run, (), scalars) or Target()
    if any(f.severity is Severity.ERROR and f.code == NON_FINITE_STATE for f in findings):
        return Target(
            "non_finite", tag=_tag(next(f for f in findings if f.code == NON_FINITE_STATE))
        )
    return _divergence(run, findings)


def _first(run: Run, state: Sequence[Finding], scalars: Sequence[Finding]) -> Target | None:
    """Return the earliest non-finite value; batches before epochs, a curve before a tensor."""
    found = [_of_scalar(run, f) for f in scalars]
    found += [_of_state(f) for f in state]
    batches = [t for t in found if t.axis is StepAxis.BATCH]
    if not found:
        return None
    first = min(batches or found, key=lambda t: (_upper(t), t.step is None))
    for other in batches:
        first = _narrowed(first, other)
    return _after_clean_checkpoints(run, first)


def _of_state(finding: Finding) -> Target:
    return Target(
        "non_finite", finding.onset_step, finding.onset_interval, StepAxis.BATCH, _tag(finding)
    )


def _of_scalar(run: Run, finding: Finding) -> Target:
    step = finding.onset_step
    low, high = finding.onset_interval or (step, step)
    assert low is not None and high is not None and step is not None
    if finding.step_axis is StepAxis.BATCH:
        return Target("non_finite", step, (max(low - 1, 0), high), StepAxis.BATCH, _tag(finding))
    length = batches_per_epoch(run)
    if length is None:
        return Target("non_finite", step, (low, high), StepAxis.EPOCH, _tag(finding))
    interval = (low * length, (high + 1) * length - 1)
    return Target("non_finite", None, interval, StepAxis.BATCH, _tag(finding))


def _narrowed(first: Target, other: Target) -> Target:
    """Cut the interval of the first target by another that overlaps it from below."""
    if first.interval is None or other.interval is None or other.axis is not first.axis:
        return first
    low, high = first.interval
    if low < other.interval[0] <= high:
        low = other.interval[0]
    return replace(first, interval=(low, high))


def _after_clean_checkpoints(run: Run, target: Target) -> Target:
    """Raise the lower end to the last clean checkpoint: after N clean steps batch N is next."""
    if target.axis is not StepAxis.BATCH or target.interval is None:
        return target
    low, high = target.interval
    clean = [
        c.step
        for c in run.checkpoint_stats
        if c.status is CheckpointStatus.CLEAN and c.step is not None and low < c.step <= high
    ]
    return replace(target, interval=(max([low, *clean]), high))


def _earlier_gradient(run: Run, scalars: Iterable[Finding], target: Target) -> Target:
    """Date the failure by the gradient norm where it is non-finite within the interval.

    Outside of it a non-finite norm is another matter, e.g. a step that loss scaling skipped.
    """
    for finding in scalars:
        if not _is_gradient(run, finding) or finding.step_axis is not target.axis:
            continue
        step = finding.onset_step
        if step is None or target.interval is None or target.axis is not StepAxis.BATCH:
            continue
        low, high = target.interval
        if low <= step <= high and (target.step is None or step < target.step):
            low = max(low, (finding.onset_interval or (low, step))[0])
            return replace(target, step=step, interval=(low, step), tag=_tag(finding))
    return target


def _divergence(run: Run, findings: Sequence[Finding]) -> Target:
    """Return the lasting rise of the loss, whatever its severity."""
    for finding in findings:
        if finding.code == DIVERGING_LOSS and finding.onset_step is not None:
            step = finding.onset_step
            interval = finding.onset_interval or (step, step)
            interval = (min(interval[0], step), max(interval[1], step))
            limit = _loss_limit(run, step) if finding.step_axis is StepAxis.BATCH else None
            return Target("diverged", step, interval, finding.step_axis, _tag(finding), limit)
    return Target()


def _loss_limit(run: Run, onset: int) -> float | None:
    """Return a loss that only the failure reaches.

    Halfway (in powers, where all losses are positive) between the levels before and after the
    onset, and above everything since the checkpoint from which a replay would start.
    """
    loss = run.train_loss
    if loss is None or loss.step_axis is not StepAxis.BATCH:
        return None
    before, after = _split(loss, onset, _start(run, onset))
    if not len(before) or not len(after):
        return None
    low, high = float(np.median(before)), float(np.median(after))
    middle = math.sqrt(low * high) if low > 0 and high > 0 else (low + high) / 2
    return max(middle, float(np.max(before)))


def _split(
    loss: Series, onset: int, start: int
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]:
    finite = np.isfinite(loss.values)
    before = finite & (loss.steps < onset) & (loss.steps >= start)
    return loss.values[before], loss.values[finite & (loss.steps >= onset)]


def _start(run: Run, onset: int) -> int:
    """Return the step of the last clean checkpoint at or before the onset, 0 without one."""
    steps = [
        c.step
        for c in run.checkpoint_stats
        if c.status is CheckpointStatus.CLEAN and c.step is not None and c.step <= onset
    ]
    return max(steps, default=0)


def _batch_steps(run: Run) -> Iterator[int]:
    yield from last_logged(run, StepAxis.BATCH)
    yield from (c.step for c in run.checkpoint_stats if c.step is not None)


def _is_gradient(run: Run, finding: Finding) -> bool:
    tag = _tag(finding)
    return any(s.tag == tag and s.quantity is Quantity.GRADIENT_NORM for s in run.series)


def _tag(finding: Finding) -> str | None:
    first = finding.evidence[0]
    if isinstance(first, CurveEvidence):
        return first.tag
    return first.name if isinstance(first, TensorEvidence) else None


def _upper(target: Target) -> int:
    if target.interval is not None:
        return target.interval[1]
    assert target.step is not None
    return target.step
