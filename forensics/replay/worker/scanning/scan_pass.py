"""One pass over all batches from one state, without updates: what each of them gives."""

from __future__ import annotations

import heapq
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from ..stepping.state import Snapshot
from ..stepping.stepper import EndOfData, Outcome, Stepper
from .gradient_norm import GradientNorm

FAILING_KEPT, LARGEST_KEPT, HEALTHY_KEPT = 3, 3, 8
"""Batches that are kept in memory, of each kind."""
OUTLYING = 7.0
"""Robust z above which a batch stands out: twice the 3.5 of Iglewicz and Hoaglin, "How to detect
and handle outliers", 1993, because losses and gradient norms are skewed to the right."""


class Scanned:
    """What one batch gave: its place in the pass, loss, gradient norm, symptom."""

    __slots__ = ("index", "loss", "norm", "score", "symptom")

    def __init__(self, index: int, outcome: Outcome, norm: Optional[float]) -> None:
        self.index, self.loss, self.norm = index, outcome.loss, norm
        self.symptom = outcome.symptom
        self.score = 0.0
        """Robust z of the loss or the gradient norm, whichever is larger."""


class ScanPass:
    """Goes over the data.

    Parameters
    ----------
    stepper : Stepper
        Runs the steps, in the run's own mode.
    start : Snapshot
        State that every step starts from.
    norm : GradientNorm
        Tells the gradient norm of the last step.
    deadline : float
        `time.monotonic()` at which to stop.
    """

    def __init__(
        self, stepper: Stepper, start: Snapshot, norm: GradientNorm, deadline: float
    ) -> None:
        self.stepper, self.start, self.norm, self.deadline = stepper, start, norm, deadline
        self.seen: List[Scanned] = []
        self.failing: List[Tuple[Scanned, Any, Outcome]] = []
        self.healthy: List[Any] = []
        self.complete = False
        self.trouble: Optional[str] = None
        self._largest: Dict[str, List[Tuple[float, int, Any]]] = {"loss": [], "norm": []}

    def run(self, most: int, first: Callable[[Snapshot, Any], Outcome]) -> None:
        """Look at `most` batches at most; `first` runs the first step, which creates variables."""
        bad_before = self.stepper.state.bad(self.start)
        try:
            for index, batch in enumerate(self.stepper.once(most)):
                if time.monotonic() > self.deadline:
                    return
                outcome = first(self.start, batch) if index == 0 else self.stepper.own(batch)
                self.stepper.judge(outcome, bad_before)
                self._take(Scanned(index, outcome, self.norm.take()), batch, outcome)
                self.stepper.state.load(self.start)
            self.complete = True
        except EndOfData as error:
            self.trouble = "after %d batches %s" % (len(self.seen), error)
        finally:
            self._score()

    def ranked(self) -> List[Scanned]:
        """Every batch, the worst first: those that fail, then by how far they stand out."""
        return sorted(self.seen, key=lambda s: (s.symptom is None, -s.score, s.index))

    def batch_of(self, index: int) -> Any:
        """Batch at a place of the pass, where it was kept; else None."""
        kept = [(s.index, batch) for s, batch, _ in self.failing]
        kept += [(i, batch) for heap in self._largest.values() for _, i, batch in heap]
        return next((batch for i, batch in kept if i == index), None)

    def usual(self, name: str) -> Tuple[float, float]:
        """Median of ``loss`` or ``norm`` over the finite batches, and its robust deviation."""
        return center_and_spread([getattr(s, name) for s in self.seen if s.symptom is None])

    def _take(self, scanned: Scanned, batch: Any, outcome: Outcome) -> None:
        self.seen.append(scanned)
        if scanned.symptom is not None:
            if len(self.failing) < FAILING_KEPT:
                self.failing.append((scanned, batch, outcome))
            return
        if len(self.healthy) < HEALTHY_KEPT:
            self.healthy.append(batch)
        for name, heap in self._largest.items():
            value = getattr(scanned, name)
            if value is not None and np.isfinite(value):
                # the place in the pass is unique: batches are never compared
                heapq.heappush(heap, (value, scanned.index, batch))
                if len(heap) > LARGEST_KEPT:
                    heapq.heappop(heap)

    def _score(self) -> None:
        for name in ("loss", "norm"):
            center, spread = self.usual(name)
            for scanned in self.seen:
                value = getattr(scanned, name)
                if value is not None and np.isfinite(value) and spread > 0:
                    scanned.score = max(scanned.score, (value - center) / spread)


def center_and_spread(values: List[Optional[float]]) -> Tuple[float, float]:
    """Median and 1.4826 MAD of the finite values; the spread is at least 1e-3 of the median."""
    finite = np.asarray([v for v in values if v is not None and np.isfinite(v)])
    if not finite.size:
        return 0.0, 0.0
    center = float(np.median(finite))
    spread = 1.4826 * float(np.median(np.abs(finite - center)))
    return center, max(spread, 1e-3 * abs(center))
