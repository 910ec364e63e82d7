"""What losses say about training: their level, and whether it goes on."""

from __future__ import annotations

import math
from typing import Dict, List, Optional, Tuple

import numpy as np

WINDOW = 80
"""Losses before the failure that tell what its healthy level was."""
LAST = 10
"""Losses whose median is the level that a run ended at."""
AGREEMENT = 0.75
"""Share of batches on which trained weights have to be better than those of the start: 12 of 16
have a probability of 0.04 by chance (sign test)."""


def healthy_level(losses: List[float]) -> Tuple[Optional[float], bool]:
    """Level of the loss before it went wrong, and whether it was falling there.

    The lowest of the medians of four windows: the last windows may hold the way up to the failure.
    """
    recent = [x for x in losses[-WINDOW:] if math.isfinite(x)]
    if not recent:
        return None, False
    parts = [float(np.median(p)) for p in np.array_split(recent, min(4, len(recent)))]
    lowest = int(np.argmin(parts))
    return parts[lowest], lowest > 0 and parts[0] - parts[lowest] > noise_of(recent)


def noise_of(losses: List[float]) -> float:
    """Typical difference of the losses of two steps that follow each other."""
    finite = [x for x in losses if math.isfinite(x)]
    return float(np.median(np.abs(np.diff(finite)))) if len(finite) > 1 else 0.0


def level(losses: List[float]) -> Optional[float]:
    """Median of the finite losses, None without one."""
    finite = [x for x in losses if math.isfinite(x)]
    return float(np.median(finite)) if finite else None


def gain(trained: Dict[int, float], frozen: Dict[int, float]) -> Optional[Tuple[float, float]]:
    """Compare losses with those that the weights of the start have on the same batches.

    The same batches: how hard one batch is by chance is in both, and drops out.

    Returns
    -------
    (float, float) or None
        By how much training lowered the loss (median over the batches), and on which share of them
        it did; None without a batch that both have.
    """
    pairs = [
        frozen[step] - loss
        for step, loss in trained.items()
        if math.isfinite(loss) and math.isfinite(frozen.get(step, math.nan))
    ]
    if not pairs:
        return None
    return float(np.median(pairs)), float(np.mean([p > 0 for p in pairs]))


def learned(found: Optional[Tuple[float, float]]) -> bool:
    """Whether a gain is one on nearly all batches."""
    return found is not None and found[0] > 0 and found[1] >= AGREEMENT
