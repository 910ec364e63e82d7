"""Plateau: learning that goes on at an undiminished rate and then stops at once.

Every healthy run flattens out; what tells a stop from a convergence is the corner. The curve is
compared, on its log scale, with the smooth way to reach a floor, ``log(c + a exp(-k t))``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forensics.signals.arrays import Floats, block_medians
from forensics.signals.scale import median_scale

_FEWEST = 120  # values
_BLOCKS = 200
_SHARE = 0.15  # of the run, at the least before the stop and after it
_DROP = 0.2  # nats of loss that the run must have learned before it stopped
_UNDIMINISHED = 0.7  # least rate in any third of the time before the stop, against the whole
_STOPPED = 0.1  # rate after the stop, against that before it
_MISFIT = 1.5  # scatter around the line before the stop, against the noise of neighbours
_EVIDENCE = 10.0  # log likelihood ratio of the corner against the smooth approach


@dataclass(frozen=True, slots=True)
class Plateau:
    """First index of the plateau, nats learned before it, and log likelihood ratio."""

    index: int
    effect: float
    score: float


def find_plateau(values: Floats) -> Plateau | None:
    """Find the corner at which a falling log loss of shape (n,) became flat, None without one."""
    n = values.shape[0]
    if n < _FEWEST:
        return None
    size = max(1, n // _BLOCKS)
    blocks = block_medians(values, size)
    count = blocks.shape[0]
    edge = max(8, int(_SHARE * count))
    corner, sharp, drop = _hinge(blocks, edge)
    noise = median_scale(np.diff(blocks))[1] / float(np.sqrt(2.0))
    if drop < max(_DROP, 4.0 * noise) or not _steady(blocks[:corner], drop):
        return None
    if abs(_slope(blocks[corner:])) > _STOPPED * drop / corner:
        return None
    smooth = _smooth_cost(blocks, corner)
    score = count / 2.0 * float(np.log((smooth + 1e-12) / (sharp + 1e-12)))
    if score < _EVIDENCE:
        return None
    return Plateau(n % size + corner * size, drop, score)


def _hinge(values: Floats, edge: int) -> tuple[int, float, float]:
    """Best line that turns flat: index of the corner, squared error, fall before the corner."""
    n = values.shape[0]
    corners = np.arange(edge, n - edge + 1)
    ramp = np.maximum(corners[:, None] - np.arange(n), 0.0)
    ramp -= ramp.mean(axis=1, keepdims=True)
    rest = values - values.mean()
    rates = ramp @ rest / (ramp * ramp).sum(axis=1)
    costs = ((rest - rates[:, None] * ramp) ** 2).sum(axis=1)
    best = int(np.argmin(costs))
    return int(corners[best]), float(costs[best]), float(rates[best] * corners[best])


def _steady(before: Floats, drop: float) -> bool:
    """Whether the loss fell along one line: no jump, no slowing down, no hump."""
    time = np.arange(before.shape[0]) - (before.shape[0] - 1) / 2.0
    rest = before - before.mean() - _slope(before) * time
    noise = median_scale(np.diff(before))[1] / float(np.sqrt(2.0))
    if float(rest.std()) > _MISFIT * noise + 0.01 * drop:
        return False
    rates = [-_slope(part) * before.shape[0] / drop for part in np.array_split(before, 3)]
    return bool(min(rates) > _UNDIMINISHED and max(rates) < 1.0 / _UNDIMINISHED)


def _slope(values: Floats) -> float:
    time = np.arange(values.shape[0]) - (values.shape[0] - 1) / 2.0
    return float(time @ values / (time @ time))


def _smooth_cost(values: Floats, corner: int) -> float:
    """Least squared error of ``log(c + a exp(-k t))`` over a grid of rates and corners."""
    n = values.shape[0]
    time = np.arange(n, dtype=np.float64)
    rates = np.geomspace(0.5, 60.0, 40)[:, None, None] / n
    corners = np.linspace(0.2 * corner, min(1.6 * corner, n), 40)[None, :, None]
    shape = np.logaddexp(0.0, -rates * (time - corners))
    rest = values - shape
    rest -= rest.mean(axis=-1, keepdims=True)
    return float((rest * rest).sum(axis=-1).min())
