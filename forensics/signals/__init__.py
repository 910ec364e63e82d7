"""Pure functions on arrays: change points, onsets, robust levels, trends, thinning for charts.

Conventions of this room: indices, never steps; a change point and an onset are the first index of
the new segment; NaN and Inf are evidence. Nothing here knows what a run is, and importing it loads
numpy alone.
"""

from __future__ import annotations

from forensics.signals.events import Event
from forensics.signals.nonfinite import Span, first_non_finite, non_finite_spans
from forensics.signals.onset import Onset, failure_onset
from forensics.signals.scale import Level, healthy_level, median_scale, winsorised_z
from forensics.signals.segmentation import segment
from forensics.signals.thinning import Curve, downsample
from forensics.signals.trend import Trend, theil_sen

__all__ = [
    "failure_onset",
    "Onset",
    "Event",
    "segment",
    "downsample",
    "Curve",
    "healthy_level",
    "Level",
    "median_scale",
    "winsorised_z",
    "theil_sen",
    "Trend",
    "non_finite_spans",
    "first_non_finite",
    "Span",
]
