"""The curves of the report: thinned for drawing, every non-finite point kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from forensics.domain.report import encode, encode_number
from forensics.domain.run import Run, Series
from forensics.signals import downsample

MOST_POINTS, FEWEST_POINTS, ALL_POINTS = 500, 50, 30_000
"""Points of a curve when there are few and when there are many, and of all curves together: a chart
is about 500 pixels wide, and the report of hundreds of curves has to stay below a few MB."""

LONGEST_SPAN = 2_000
"""Unbroken non-finite points that are listed one by one; of a longer span (a run that went on for a
million steps after its NaN) both ends and an even choice of this many are."""


def curves(run: Run) -> list[dict[str, Any]]:
    """Return the section ``series``."""
    if not run.series:
        return []
    limit = min(MOST_POINTS, max(FEWEST_POINTS, ALL_POINTS // len(run.series)))
    return [_curve(series, limit) for series in run.series]


def _curve(series: Series, limit: int) -> dict[str, Any]:
    thin = downsample(series.steps, series.values, limit)
    shown = _non_finite(series.values)
    return {
        "tag": series.tag,
        "writer": series.writer,
        "quantity": series.quantity.value,
        "step_axis": series.step_axis.value,
        "steps": encode(thin.steps),
        "values": encode(thin.values),
        "low": encode(thin.low),
        "high": encode(thin.high),
        "nonfinite": [
            {"step": int(series.steps[i]), "value": encode_number(float(series.values[i]))}
            for i in shown
        ],
    }


def _non_finite(values: npt.NDArray[np.float64]) -> list[int]:
    """Return indices of non-finite values; only the inside of a very long span is thinned."""
    bad = np.flatnonzero(~np.isfinite(values))
    kept: list[int] = []
    for span in np.split(bad, np.flatnonzero(np.diff(bad) > 1) + 1):
        if len(span) > LONGEST_SPAN:
            span = span[np.linspace(0, len(span) - 1, LONGEST_SPAN).astype(np.intp)]
        kept.extend(span.tolist())
    return kept
