"""Which curves may hold equal values one step apart, without comparing each with each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

Curve = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
"""Steps and values, of one length."""

FEW = 16
"""Curves of which all pairs are worth comparing."""
_COMMON = 8
"""Curves that have one value at one step, from which on it tells nothing about two of them."""


def near_pairs(curves: Sequence[Curve], least: int) -> list[tuple[int, int]]:
    """Pairs of curves to be compared, as indices in order.

    Parameters
    ----------
    curves : sequence of (array of shape (n,), array of shape (n,))
        Steps and values.
    least : int
        Equal values, at steps one apart, that two curves must share.

    Returns
    -------
    list of (int, int)
        All pairs of a few curves. Of many, those that share as many values once rounded to float32:
        some more than are equal, and of those that are equal to float32 none is left out.
    """
    if len(curves) <= FEW:
        return list(combinations(range(len(curves)), 2))
    owners = np.repeat(np.arange(len(curves)), [len(steps) for steps, _ in curves])
    steps = np.concatenate([steps for steps, _ in curves])
    values = np.concatenate([values for _, values in curves])
    known = ~np.isnan(values)
    owners, steps, values = owners[known], steps[known], values[known]
    order = np.argsort(_keys(steps, values), kind="stable")
    keys, wanted = _keys(steps, values)[order], _keys(steps + 1, values)
    first, last = np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right")
    telling = (last > first) & (last - first <= _COMMON)
    first, counts = first[telling], (last - first)[telling]
    # first, first + 1, ... last - 1 of each, one after the other
    ends = np.cumsum(counts)
    places = np.arange(counts.sum()) + np.repeat(first - ends + counts, counts)
    one, other = np.repeat(owners[telling], counts), owners[order[places]]
    codes = np.minimum(one, other) * len(curves) + np.maximum(one, other)
    found, shared = np.unique(codes[one != other], return_counts=True)
    return [divmod(int(code), len(curves)) for code in found[shared >= least]]


def _keys(steps: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64]:
    """One number for a step and a value; different ones seldom have the same."""
    with np.errstate(over="ignore"):
        bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32).astype(np.uint64)
        return steps.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ bits
