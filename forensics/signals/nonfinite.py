"""Non-finite values: where they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forensics.signals.arrays import Floats, as_floats


class Span(NamedTuple):
    """Half-open stretch of neighbouring non-finite values, and what is in it."""

    start: int
    stop: int
    nan: int
    pos_inf: int
    neg_inf: int


def non_finite_spans(values: Floats) -> tuple[Span, ...]:
    """Stretches of NaN and Inf in a series of shape (n,), in order."""
    flat = as_floats(values)
    bad = ~np.isfinite(flat)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bad, [False]]).astype(np.int8)))
    return tuple(_span(flat, int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True))


def _span(values: Floats, start: int, stop: int) -> Span:
    part = values[start:stop]
    return Span(
        start,
        stop,
        int(np.count_nonzero(np.isnan(part))),
        int(np.count_nonzero(np.isposinf(part))),
        int(np.count_nonzero(np.isneginf(part))),
    )


def first_non_finite(values: Floats) -> int | None:
    """Index of the first NaN or Inf, None where all values are finite."""
    bad = np.flatnonzero(~np.isfinite(as_floats(values)))
    return int(bad[0]) if bad.size else None


def filled(values: Floats) -> Floats:
    """Non-finite values replaced by the finite value before them, or the first one after."""
    finite = np.isfinite(values)
    if finite.all() or not finite.any():
        return values
    index = np.where(finite, np.arange(values.shape[0]), -1)
    index = np.maximum.accumulate(index)
    index[index < 0] = int(np.argmax(finite))
    return np.asarray(values[index])
