"""Special functions that NumPy lacks, from the standard library's and from series."""

from __future__ import annotations

import math
from typing import Any, Callable

import numpy as np

MAX_ELEMENTS = 200_000
"""Worked out one by one in Python: about a second."""


def _each(function: Callable[[float], float]) -> Callable[[Any], Any]:
    def guarded(x: float) -> float:
        try:
            return function(x)
        except OverflowError:
            return math.inf
        except ValueError:
            return math.nan

    def over(array: Any) -> Any:
        array = np.asarray(array, np.float64)
        if array.size > MAX_ELEMENTS:
            raise ValueError("%d elements are too many" % array.size)
        return np.array([guarded(float(x)) for x in array.ravel()]).reshape(array.shape)

    return over


def _lgamma(x: float) -> float:
    if x <= 0 and x == math.floor(x):
        return math.inf
    return math.lgamma(x)


def _digamma(x: float) -> float:
    """Recurrence up to 10, then the asymptotic series (relative error below 1e-12)."""
    if math.isnan(x) or x == -math.inf or (x <= 0 and x == math.floor(x)):
        return math.nan
    if x == math.inf:
        return x
    if x < 0:
        return _digamma(1 - x) - math.pi / math.tan(math.pi * x)
    shift = 0.0
    while x < 10:
        shift -= 1 / x
        x += 1
    square = 1 / (x * x)
    series = square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))
    return shift + math.log(x) - 0.5 / x - series


def _erfinv(x: float) -> float:
    if math.isnan(x) or abs(x) > 1:
        return math.nan
    if abs(x) == 1:
        return math.copysign(math.inf, x)
    # 1 - |x| is exact for |x| >= 0.5, and erfc keeps the precision that erf loses near 1
    return math.copysign(_erfcinv(1 - abs(x)), x)


def _erfcinv(q: float) -> float:
    """Solve erfc(y) = q for 0 < q <= 1 by bisection: erfc(27) is 0 in float64."""
    low, high = 0.0, 27.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erfc(middle) > q else (low, middle)
    return (low + high) / 2


def _ndtri(p: float) -> float:
    if not 0 <= p <= 1:
        return math.nan
    if p in (0.0, 1.0):
        return math.inf if p else -math.inf
    tail = _erfcinv(2 * min(p, 1 - p)) * math.sqrt(2)
    return tail if p > 0.5 else -tail


erf, erfc = _each(math.erf), _each(math.erfc)
erfinv, ndtri = _each(_erfinv), _each(_ndtri)
lgamma, digamma = _each(_lgamma), _each(_digamma)
