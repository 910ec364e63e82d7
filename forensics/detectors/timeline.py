"""When curves changed, and which of them left their band before the failure."""

from __future__ import annotations

import math
import sys

import numpy as np

from forensics.detectors.curves import (
    bad_interval,
    first_bad_index,
    is_loss,
    log_level,
    loss_onset,
)
from forensics.domain.findings import ChangePoint, LeadIndicator
from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.run import Run, Series

BAND_SIGMAS = 6.0
"""Half width of a series' band: robust standard deviations of log10 over its first half."""
BAND_DECADES = 0.5
"""Least half width of a band, powers of ten: three-fold changes are ordinary."""
FEWEST = 12
"""Fewest points before the failure for a band to mean something."""
_WATCHED = (
    Quantity.TRAIN_LOSS,
    Quantity.GRADIENT_NORM,
    Quantity.WEIGHT_NORM,
    Quantity.UPDATE_RATIO,
    Quantity.LOSS_SCALE,
    Quantity.ACTIVATION_STD,
)


def change_points(run: Run) -> tuple[ChangePoint, ...]:
    """Change points of the training loss and the first non-finite point of each loss and norm.

    In the order of their steps. ``level`` is None: the intervals are not calibrated.
    """
    found = [*_of_loss(run)]
    for series in run.series:
        if is_loss(series) or series.quantity in (
            Quantity.VALIDATION_LOSS,
            Quantity.GRADIENT_NORM,
        ):
            if series.layer is not None:
                continue
            index = first_bad_index(series.values)
            if index is not None:
                found.append(_point(series, index, bad_interval(series, index), "non_finite"))
    unique = {(p.tag, p.step, p.kind, p.step_axis): p for p in found}
    return tuple(sorted(unique.values(), key=lambda p: (p.step_axis.value, p.step, p.tag)))


def _of_loss(run: Run) -> list[ChangePoint]:
    loss, onset = run.train_loss, loss_onset(run)
    if loss is None or onset is None:
        return []
    last = len(loss) - 1
    points = []
    if onset.failed and onset.onset is not None and onset.kind != "non_finite":
        low, high = onset.interval if onset.interval is not None else (onset.onset, onset.onset)
        interval = (int(loss.steps[max(low, 0)]), int(loss.steps[min(high, last)]))
        points.append(
            ChangePoint(
                loss.tag, loss.quantity, int(loss.steps[min(onset.onset, last)]), loss.step_axis,
                interval, None, onset.kind or "level", onset.p_value, onset.effect,
            )
        )  # fmt: skip
    return points


def _point(series: Series, index: int, interval: tuple[int, int], kind: str) -> ChangePoint:
    return ChangePoint(
        series.tag, series.quantity, int(series.steps[index]), series.step_axis, interval, None,
        kind, None, None,
    )  # fmt: skip


def lead_indicators(run: Run, first_bad_step: int) -> tuple[LeadIndicator, ...]:
    """Series on the batch axis that left their band for good before ``first_bad_step``.

    The band is median +- max(`BAND_SIGMAS` robust deviations, `BAND_DECADES`) of log10 over the
    first half of the points before the failure; a series has left it from the first of the points
    that are all outside on the upper side up to the failure. Earliest first.
    """
    found = []
    for series in run.series:
        if series.quantity not in _WATCHED or series.step_axis is not StepAxis.BATCH:
            continue
        step = _left_band(series, first_bad_step)
        if step is not None and step < first_bad_step:
            found.append(LeadIndicator(series.tag, step, first_bad_step - step))
    unique = {(i.tag, i.step): i for i in found}
    return tuple(sorted(unique.values(), key=lambda i: (i.step, i.tag)))


def _left_band(series: Series, first_bad_step: int) -> int | None:
    """Step from which all points up to the failure lie above the band."""
    mask = series.steps < first_bad_step
    values, steps = series.values[mask], series.steps[mask]
    if len(values) < FEWEST:
        return None
    middle, spread = log_level(values[: len(values) // 2])
    if math.isnan(middle):
        return None
    decades = middle + max(BAND_SIGMAS * spread, BAND_DECADES)
    limit = 10.0 ** min(decades, sys.float_info.max_10_exp)
    inside = np.flatnonzero(~((values > limit) | ~np.isfinite(values)))
    first = int(inside[-1]) + 1 if len(inside) else 0
    return int(steps[first]) if first < len(values) else None
