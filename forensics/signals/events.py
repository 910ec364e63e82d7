"""What happened in a run without ending it: spikes, recovered rises, drops, skipped steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forensics.signals.arrays import Floats, block_medians, sliding_medians
from forensics.signals.nonfinite import non_finite_spans
from forensics.signals.scale import median_scale

_SIGMAS = 8.0
_SPIKE = 0.25  # nats
_MOST = 20  # events of a kind, the largest
_WINDOWS = 60


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the run went through.

    Attributes
    ----------
    kind : str
        ``spike`` (a few values high), ``recovered_rise`` (a restart, a cycle, a slow recovery),
        ``level_drop`` (as after a drop of the learning rate), ``non_finite`` or
        ``gradient_non_finite`` (one for each stretch).
    index : int
        Its first value.
    effect : float
        Height in natural log units; for non-finite stretches the number of values.
    """

    kind: str
    index: int
    effect: float


def non_finite_events(values: Floats, kind: str) -> tuple[Event, ...]:
    """One event for each stretch of NaN and Inf, the longest ones, in order."""
    found = [
        Event(kind, span.start, float(span.stop - span.start)) for span in non_finite_spans(values)
    ]
    return _largest(found)


def curve_events(values: Floats) -> tuple[Event, ...]:
    """Events of a finite series of shape (n,) on its log scale, in order."""
    n = values.shape[0]
    if n < 12:
        return ()
    width = max(5, n // _WINDOWS) | 1
    if n < 3 * width:
        return ()
    padded = np.pad(values, width // 2, mode="reflect")
    level = _running_level(padded, width, n)
    found = [*_spikes(values, level), *_moves(values, width)]
    return tuple(sorted(found, key=lambda event: (event.index, event.kind)))


def _running_level(padded: Floats, width: int, n: int) -> Floats:
    if width <= 65:
        return sliding_medians(padded, width)[:n]
    levels = block_medians(padded, width)
    centres = padded.shape[0] % width + width * np.arange(levels.shape[0]) + width / 2.0
    return np.interp(np.arange(n) + width // 2, centres, levels)


def _spikes(values: Floats, level: Floats) -> tuple[Event, ...]:
    rest = values - level
    sigma = median_scale(rest)[1]
    high = rest > max(_SIGMAS * sigma, _SPIKE)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], high, [False]]).astype(np.int8)))
    return _largest(
        [
            Event("spike", int(a), float(rest[a:b].max()))
            for a, b in zip(edges[::2], edges[1::2], strict=True)
        ]
    )


def _moves(values: Floats, width: int) -> tuple[Event, ...]:
    """Rises that recovered, and drops at once, among neighbouring levels."""
    levels = block_medians(values, width)
    offset = values.shape[0] % width
    step = np.diff(levels)
    bend = np.diff(levels, n=2)
    sigma = median_scale(bend)[1] / float(np.sqrt(6.0))
    least = max(_SIGMAS * sigma, 0.1)
    lowest = np.minimum.accumulate(levels)
    up = levels - lowest > least
    edges = np.flatnonzero(np.diff(np.concatenate([[False], up, [False]]).astype(np.int8)))
    found = [
        Event("recovered_rise", offset + int(a) * width, float((levels - lowest)[a:b].max()))
        for a, b in zip(edges[::2], edges[1::2], strict=True)
        if b < levels.shape[0]
    ]
    calm = step - np.minimum(np.concatenate([[step[0]], step[:-1]]), 0.0)
    late = np.arange(step.shape[0]) >= max(3, step.shape[0] // 10)
    recovering = up[:-1]
    found += [
        Event("level_drop", offset + (int(i) + 1) * width, float(-step[i]))
        for i in np.flatnonzero((calm < -least) & late & ~recovering)
    ]
    return _largest(found)


def _largest(found: list[Event]) -> tuple[Event, ...]:
    kept = sorted(found, key=lambda event: -event.effect)[:_MOST]
    return tuple(sorted(kept, key=lambda event: event.index))
