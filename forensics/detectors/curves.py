"""Reading curves the way the detectors need it: indices to steps, robust levels, when it failed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from forensics.domain.evidence import CurveEvidence
from forensics.domain.quantity import Fidelity, Quantity, StepAxis
from forensics.domain.run import CheckpointStats, CheckpointStatus, FloatArray, Run, Series
from forensics.signals import Onset, failure_onset

MAD_TO_SIGMA = 1.4826
"""Median absolute deviation to the standard deviation of a normal law."""

_LOSS_WORDS = ("loss", "nll", "elbo", "cost", "objective")


def is_loss(series: Series) -> bool:
    """Whether a series is a training loss or a part of one (``g_loss``, ``train/kl_loss``)."""
    if series.quantity is Quantity.TRAIN_LOSS:
        return True
    if series.quantity not in (Quantity.METRIC, Quantity.OTHER):
        return False
    # A column of a table may be called so too: its reader has decided what it is.
    if series.fidelity is not Fidelity.EVENT:
        return False
    last = series.tag.replace("\\", "/").split("/")[-1].lower()
    return last.split("_")[-1] in _LOSS_WORDS and "scale" not in last


def losses(run: Run) -> tuple[Series, ...]:
    """Every training loss and part of one, batches before epochs."""
    found = [s for s in run.series if is_loss(s)]
    return tuple(sorted(found, key=lambda s: s.step_axis is not StepAxis.BATCH))


def first_bad_index(values: FloatArray) -> int | None:
    """Index of the first NaN or Inf."""
    bad = np.flatnonzero(~np.isfinite(values))
    return int(bad[0]) if len(bad) else None


def curve_evidence(
    series: Series,
    first: int,
    last: int,
    measured: float | None = None,
    limit: float | None = None,
    unit: str = "",
) -> CurveEvidence:
    """Evidence on a stretch of a series given by indices, both inclusive."""
    steps = series.steps
    return CurveEvidence(
        series.tag, int(steps[first]), int(steps[last]), series.step_axis, measured, limit, unit
    )


def log_level(values: FloatArray) -> tuple[float, float]:
    """Median and robust standard deviation of log10 of the finite positive values.

    Both are NaN when there is none. Median and MAD, because the stretch may hold outliers.
    """
    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive):
        return math.nan, math.nan
    logs = np.log10(positive)
    middle = float(np.median(logs))
    return middle, float(MAD_TO_SIGMA * np.median(np.abs(logs - middle)))


@dataclass(frozen=True, slots=True)
class Failure:
    """When a run went wrong, as far as logs and checkpoints tell.

    ``kind`` is ``non_finite`` (a loss), ``state`` (a checkpoint) or the kind of the loss's onset;
    ``step`` is on ``axis`` and so is ``interval`` (inclusive).
    """

    step: int
    axis: StepAxis
    interval: tuple[int, int]
    kind: str

    @property
    def non_finite(self) -> bool:
        """True when a loss or the state holds NaN or Inf."""
        return self.kind in ("non_finite", "state")


@lru_cache(maxsize=8)
def loss_onset(run: Run) -> Onset | None:
    """Onset of the failure in the training loss; None when there is no loss to judge."""
    loss = run.train_loss
    if loss is None or len(loss) < 2:
        return None
    norm = run.gradient_norm
    same = norm is not None and len(norm) == len(loss) and bool(np.all(norm.steps == loss.steps))
    return failure_onset(loss.values, norm.values if same and norm is not None else None)


@lru_cache(maxsize=8)
def failure(run: Run) -> Failure | None:
    """Return the earliest failure that is known: non-finite loss, poisoned state, divergence."""
    found = [f for f in (_loss_failure(run), state_failure(run.checkpoint_stats)) if f is not None]
    batches = [f for f in found if f.axis is StepAxis.BATCH]
    if found:
        return min(batches or found, key=lambda f: f.step)
    onset, loss = loss_onset(run), run.train_loss
    if onset is None or loss is None or not onset.failed or onset.onset is None:
        return None
    if run.train_loss_is_part:
        return None  # what a part of the loss does while the whole is unknown is no failure
    index = min(onset.onset, len(loss) - 1)
    low, high = onset.interval if onset.interval is not None else (index, index)
    steps = loss.steps
    ends = (int(steps[max(low, 0)]), int(steps[min(high, len(loss) - 1)]))
    return Failure(int(steps[index]), loss.step_axis, ends, onset.kind or "diverged")


def bad_interval(series: Series, index: int) -> tuple[int, int]:
    """Return steps between the last good point and the bad one: where it can have happened."""
    step = int(series.steps[index])
    if series.watched:
        return step, step
    before = int(series.steps[index - 1]) + 1 if index else min(step, 0)
    return min(before, step), step


def _loss_failure(run: Run) -> Failure | None:
    """Return the first non-finite loss; batches before epochs."""
    found = []
    for series in losses(run):
        index = first_bad_index(series.values)
        if index is not None:
            step = int(series.steps[index])
            found.append(Failure(step, series.step_axis, bad_interval(series, index), "non_finite"))
    return min(found, key=lambda f: (f.axis is not StepAxis.BATCH, f.step), default=None)


def state_failure(checkpoints: Iterable[CheckpointStats]) -> Failure | None:
    """Return the first poisoned checkpoint: the state after ``step`` steps, so ``step - 1``."""
    dated = [c for c in checkpoints if c.step is not None]
    poisoned = [
        c.step for c in dated if c.status is CheckpointStatus.POISONED if c.step is not None
    ]
    if not poisoned:
        return None
    first = min(poisoned)
    clean = [
        c.step
        for c in dated
        if c.status is CheckpointStatus.CLEAN and c.step is not None and c.step < first
    ]
    low = max(clean, default=0)
    high = max(first - 1, 0)
    return Failure(high, StepAxis.BATCH, (min(low, high), high), "state")


def before(series: Series, failed: Failure | None) -> int:
    """Return the number of leading points that lie before the failure (all when none is known)."""
    if failed is None or failed.axis is not series.step_axis:
        limit = len(series)
    else:
        later = np.flatnonzero(series.steps >= failed.step)
        limit = int(later[0]) if len(later) else len(series)
    return limit
