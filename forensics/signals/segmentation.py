"""Change points of any series: straight lines with breaks, found exactly.

Each dimension is measured in robust sigmas and cut off at three of them, so that outliers make no
segments of their own. The unit of cost lies between the two that suggest themselves: by the spread
of the whole series, large jumps make themselves small; by the noise between neighbours, every
wander of an autocorrelated series is a change. It is ``spread^(3/4) noise^(1/4)``, a choice and not
a theorem; a segment costs the squared error of its own least-squares line; the
segmentation of the least cost plus penalty is found by PELT.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from forensics.signals.arrays import Floats
from forensics.signals.nonfinite import filled
from forensics.signals.scale import MAD_TO_SIGMA, winsorised_z

_BLOCKS = 2000
_NOISE_SHARE = 0.25
_LEAST_NOISE = 0.02  # of the spread: rounded and smooth series have next to none
_SHORTEST = 5  # blocks per segment: an outlier and its neighbours are none
_PENALTY = 3.0  # times log n: level, slope and place of a new segment, as in the BIC


def segment(values: ArrayLike) -> tuple[int, ...]:
    """First index of each new segment of a series, in order; the first segment has none.

    Parameters
    ----------
    values : array_like of float, shape (n,) or (n, d)
        Any unit. NaN where missing, an Inf counts as far away. More than 2,000 rows are replaced by
        medians of blocks, and change points then fall on the bounds of blocks.

    Returns
    -------
    tuple of int
        Between 1 and n - 1; empty for short, constant and all-missing series. Never raises for an
        array of at most two dimensions.

    Raises
    ------
    ValueError
        If there are more than two dimensions.

    References
    ----------
    Killick, R., Fearnhead, P. and Eckley, I. A. (2012), Optimal detection of changepoints with a
    linear computational cost, JASA 107 (PELT). Schwarz, G. (1978), Estimating the dimension of a
    model, Annals of Statistics 6 (the penalty of log n per parameter and dimension).
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim > 2:
        raise ValueError(f"a series has one or two dimensions, not {array.ndim}")
    if array.size == 0:
        return ()
    columns = array.reshape(array.shape[0] if array.ndim else 1, -1).T
    n = columns.shape[1]
    size = max(1, -(-n // _BLOCKS))
    usable = [_prepared(column, size) for column in columns]
    scaled = np.array([z for z in usable if z is not None])
    if scaled.size == 0 or scaled.shape[1] < 2 * _SHORTEST:
        return ()
    penalty = _PENALTY * float(np.log(scaled.shape[1])) * scaled.shape[0]
    return tuple(n % size + index * size for index in _pelt(scaled, penalty))


def _prepared(column: Floats, size: int) -> Floats | None:
    """Winsorised z of the block medians, gaps filled; None for a column that says nothing."""
    z = winsorised_z(column)
    if not np.isfinite(z).any() or np.nanmin(z) == np.nanmax(z):
        return None
    z = filled(z)
    if size > 1:
        z = np.median(z[z.shape[0] % size :].reshape(-1, size), axis=1)
        z = winsorised_z(z)
    return None if z.min() == z.max() else np.asarray(z / _noise(z) ** _NOISE_SHARE)


def _noise(z: Floats) -> float:
    """Sigma of the noise between neighbours, free of trend: second differences / sqrt(6)."""
    if z.shape[0] < 3:
        return 1.0
    bend = np.abs(np.diff(z, n=2))
    sigma = MAD_TO_SIGMA * float(np.median(bend)) / float(np.sqrt(6.0))
    return min(max(sigma, _LEAST_NOISE), 1.0)


def _pelt(values: Floats, penalty: float) -> list[int]:
    """Exact best segmentation of ``values`` of shape (d, n) into lines.

    ``best[t]`` is the least cost of the first t values. A start s that is beaten by more than the
    penalty at t can win no longer once a segment from t is long enough, and is pruned (theorem 3.1
    of the paper; a segment never costs less than its two parts, so K is 0).
    """
    n = values.shape[1]
    sums = _running_sums(values)
    best = np.full(n + 1, np.inf)
    best[0] = -penalty
    came_from = np.zeros(n + 1, dtype=np.intp)
    beaten = np.full(n + 1, n + _SHORTEST)
    starts = np.zeros(1, dtype=np.intp)
    for stop in range(_SHORTEST, n + 1):
        costs = best[starts] + _line_costs(sums, starts, stop)
        winner = int(np.argmin(costs))
        best[stop] = costs[winner] + penalty
        came_from[stop] = starts[winner]
        beaten[starts] = np.where(
            costs > best[stop], np.minimum(beaten[starts], stop), beaten[starts]
        )
        starts = starts[stop + 1 - beaten[starts] < _SHORTEST]
        opened = stop + 1 - _SHORTEST
        if opened >= _SHORTEST:
            starts = np.append(starts, opened)
    found, stop = [], int(came_from[n])
    while stop > 0:
        found.append(stop)
        stop = int(came_from[stop])
    return found[::-1]


def _running_sums(values: Floats) -> tuple[Floats, Floats, Floats]:
    time = np.arange(values.shape[1], dtype=np.float64)
    parts = (values, values * time, values * values)
    padded = [np.pad(np.cumsum(part, axis=1), ((0, 0), (1, 0))) for part in parts]
    return padded[0], padded[1], padded[2].sum(axis=0)


def _line_costs(sums: tuple[Floats, Floats, Floats], starts: np.ndarray, stop: int) -> Floats:
    """Squared error of the least-squares line of each ``[start, stop)``, summed over dimensions."""
    s_y, s_ty, s_yy = sums
    count = (stop - starts).astype(np.float64)
    y = s_y[:, [stop]] - s_y[:, starts]
    middle = (starts + stop - 1) / 2.0
    ty = s_ty[:, [stop]] - s_ty[:, starts] - middle * y
    within_t = np.maximum(count * (count * count - 1.0) / 12.0, 1e-12)
    explained = (y * y).sum(axis=0) / count + (ty * ty).sum(axis=0) / within_t
    return np.asarray(np.maximum(s_yy[stop] - s_yy[starts] - explained, 0.0))
