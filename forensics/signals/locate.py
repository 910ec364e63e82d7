"""Where exactly a curve broke: least squares, from a coarse window to a fine one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forensics.signals.arrays import Floats, despiked

_SMALLEST = 16  # values that two straight lines and a break need at the least
_SIGNIFICANT = 40.0  # F of the break below which a finer window would only follow noise
_POINTS = 2000
_CHI2_99 = 6.63  # chi-square with one degree of freedom, 99 %


class Break(NamedTuple):
    """First index of the new segment, and the indices between which it lies."""

    first: int
    low: int
    high: int


def line_costs(values: Floats) -> tuple[Floats, Floats]:
    """Squared error of a least-squares line through each prefix and through each suffix.

    Both have shape (n + 1,): ``prefix[i]`` is that of ``values[:i]``, ``suffix[i]`` of
    ``values[i:]``. Computed with running sums in O(n) on centred values.
    """
    centred = values - values.mean()
    return _prefix_line_costs(centred), _prefix_line_costs(centred[::-1])[::-1]


def _prefix_line_costs(values: Floats) -> Floats:
    n = values.shape[0]
    count = np.arange(n + 1, dtype=np.float64)
    time = np.arange(n, dtype=np.float64)
    s_y, s_yy, s_ty = (
        np.concatenate([[0.0], np.cumsum(x)]) for x in (values, values * values, time * values)
    )
    safe = np.maximum(count, 1.0)
    within_y = s_yy - s_y * s_y / safe
    within_t = np.maximum(count * (count * count - 1.0) / 12.0, 1e-12)
    within_ty = s_ty - (count - 1.0) / 2.0 * s_y
    return np.asarray(np.maximum(within_y - within_ty * within_ty / within_t, 0.0))


def locate_break(values: Floats, low: int, high: int) -> Break:
    """Break between two straight lines in ``values[low:high]``, refined in ever finer windows.

    A window is halved around the break as long as the break stays significant in it (F test of two
    lines against one): a sharp jump in little noise is dated to the step, a faint one from as many
    values as it takes. Windows of more than 2,000 values are first thinned to block means.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        Finite.
    low, high : int
        Half-open window that holds the break.

    Returns
    -------
    Break
        With the interval of the breaks whose profile likelihood is within the 99 % quantile.
    """
    offset = max(low, 0)
    smooth = despiked(values[offset:high])
    low, high = 0, smooth.shape[0]
    found = _fit(smooth, low, high)
    while high - low > 2 * _SMALLEST:
        half = max((high - low) // 4, _SMALLEST // 2)
        low, high = max(found[0].first - half, low), min(found[0].first + half, high)
        finer = _fit(smooth, low, high)
        if finer[1] < _SIGNIFICANT:
            break
        found = finer
    return Break(*(offset + index for index in found[0]))


def _fit(values: Floats, low: int, high: int) -> tuple[Break, float]:
    """Best break in one window, and its F."""
    size = max(1, -(-(high - low) // _POINTS))
    count = (high - low) // size
    window = values[high - count * size : high].reshape(count, size).mean(axis=1)
    start = high - count * size
    edge = max(2, min(count // 8, 4))
    if count < 2 * edge + 2:
        return Break(low, low, max(high - 1, low)), 0.0
    prefix, suffix = line_costs(window)
    costs = (prefix + suffix)[edge : count - edge + 1]
    floor = 1e-12 * float(prefix[-1]) + 1e-300
    best = int(np.argmin(costs))
    least = float(costs[best]) + floor
    strength = (float(prefix[-1]) - least) / 2.0 / (least / max(count - 5, 1))
    with np.errstate(divide="ignore", over="ignore"):
        likely = np.flatnonzero(count * np.log((costs + floor) / least) <= _CHI2_99)
    to_index = [start + (edge + int(i)) * size for i in (best, likely[0], likely[-1])]
    return Break(to_index[0], to_index[1] - (size - 1), to_index[2] + (size - 1)), strength
