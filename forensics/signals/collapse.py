"""Gradient collapse: the gradient falls away at once, and not because the run has converged."""

from __future__ import annotations

import numpy as np

from forensics.signals.arrays import Floats, level_step
from forensics.signals.locate import Break, locate_break
from forensics.signals.nonfinite import filled
from forensics.signals.rise import Rise, strongest_rise
from forensics.signals.scale import comparable

_EFFECT = 0.35  # nats: a gradient norm that keeps less than about 70 % of its size
_LEARNED = 0.1  # nats of loss per nat of gradient beyond which the fall is learning
_SUDDEN = 0.6  # share of the fall that must happen at once


def find_collapse(loss: Floats, gradient: Floats, threshold: float) -> tuple[Rise, Break] | None:
    """Find the sudden lasting fall of the gradient norm that no fall of the loss explains.

    A gradient also shrinks when a run converges, slowly or, at a drop of the learning rate, at
    once; then the loss falls with it. Both arrays have shape (n,), the loss on its log scale.
    """
    if not np.isfinite(gradient).any():
        return None
    size = np.abs(filled(gradient))
    fallen = strongest_rise(-comparable(size))
    if fallen is None or fallen.score < threshold or fallen.effect < _EFFECT:
        return None
    curve = -comparable(size)
    found = locate_break(curve, fallen.lowest - fallen.width, fallen.last + fallen.width)
    span = max(5, min(fallen.width, found.first, curve.shape[0] - found.first))
    jump = level_step(curve, found.first, span)
    if jump < max(_SUDDEN * fallen.effect, _EFFECT):
        return None
    if level_step(loss, found.first, span) < -_LEARNED * jump:
        return None
    return fallen, found
