"""Plateau: learning that goes on at an undiminished rate and then stops at once.

Every healthy run flattens out; what tells a stop from a convergence is the corner. The curve is
compared, on its log scale, with the smooth way to reach a floor, ``log(c + a exp(-k t))``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forensics.signals.arrays import Floats, block_medians
from forensics.signals.locate import line_costs
from forensics.signals.scale import median_scale

_FEWEST = 120  # values
_BLOCKS = 200
_SHARE = 0.15  # of the run, at the least before the stop and after it
_DROP = 0.2  # nats of loss that the run must have learned before it stopped
_UNDIMINISHED = 0.6  # rate in the second half before the stop, against that of the first half
_STOPPED = 0.1  # rate after the stop, against that before it
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
    edge = max(6, int(_SHARE * count))
    prefix, _ = line_costs(blocks)
    flat = _suffix_mean_costs(blocks)
    corner = edge + int(np.argmin((prefix + flat)[edge : count - edge]))
    before, after = blocks[:corner], blocks[corner:]
    rate = -_slope(before)
    drop = rate * corner
    noise = median_scale(np.diff(blocks))[1] / float(np.sqrt(2.0))
    if drop < max(_DROP, 4.0 * noise):
        return None
    if -_slope(before[corner // 2 :]) < _UNDIMINISHED * -_slope(before[: corner // 2]):
        return None
    if abs(_slope(after)) > _STOPPED * rate:
        return None
    sharp = float(prefix[corner] + flat[corner])
    smooth = _smooth_cost(blocks, corner)
    score = count / 2.0 * float(np.log((smooth + 1e-12) / (sharp + 1e-12)))
    if score < _EVIDENCE:
        return None
    return Plateau(n % size + corner * size, drop, score)


def _suffix_mean_costs(values: Floats) -> Floats:
    back = (values - values.mean())[::-1]
    count = np.maximum(np.arange(values.shape[0] + 1, dtype=np.float64), 1.0)
    total = np.concatenate([[0.0], np.cumsum(back)])
    square = np.concatenate([[0.0], np.cumsum(back * back)])
    return np.asarray(np.maximum(square - total * total / count, 0.0)[::-1])


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
