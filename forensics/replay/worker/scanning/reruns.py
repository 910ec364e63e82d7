"""The data gone over again in other orders, with updates: whether the failure comes back."""

from __future__ import annotations

import collections
import time
from typing import Any, Deque, Dict, Iterable, Iterator, List, Optional, Tuple

import numpy as np

from ..stepping.failure import Moment
from ..stepping.state import Snapshot
from ..stepping.stepper import EndOfData, Outcome, Stepper

RERUNS = 3
SHUFFLED, SHUFFLED_BYTES = 64, 1 << 28
"""Batches that are shuffled among one another, and what they may take of the memory."""


class Rerun:
    """One pass in an order of its own: where it failed (None: it did not) and after which steps."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.steps = 0
        self.index: Optional[int] = None
        self.symptom: Optional[str] = None
        self.outcome: Optional[Outcome] = None
        self.recent: Deque[Moment] = collections.deque()
        self.cut = False

    def attempt(self, mode: str, device: str) -> Dict[str, Any]:
        """Entry of the report's table of attempts."""
        return {
            "mode": mode, "device": device, "seed": self.seed, "outcome": self.said(),
            "times_reproduced": int(self.symptom is not None), "times_run": 1,
        }  # fmt: skip

    def said(self) -> str:
        """Say in a phrase how it went."""
        if self.outcome is None:
            return "stayed finite for %d steps in another order" % self.steps
        return "%s at step %d of another order (batch %s of that pass)" % (
            self.outcome.describe(), self.steps - 1, self.index
        )  # fmt: skip


class Reruns:
    """Runs them.

    Parameters
    ----------
    stepper : Stepper
        Runs the steps, in the run's own mode.
    start : Snapshot
        State that every rerun starts from.
    limit : float or None
        Loss above which a step counts as diverged.
    keep : int
        States before the failure that are kept.
    deadline : float
        `time.monotonic()` at which to stop.
    """

    def __init__(
        self, stepper: Stepper, start: Snapshot, limit: Optional[float], keep: int, deadline: float
    ) -> None:
        self.stepper, self.start, self.limit = stepper, start, limit
        self.keep, self.deadline = keep, deadline
        self.done: List[Rerun] = []

    def run(self, batches: int, steps: int) -> None:
        """Fill `done`; one that the time cuts short counts only if it failed before.

        Parameters
        ----------
        batches : int
            Batches of one pass.
        steps : int
            Steps of a rerun: more than one pass where the run took more to fail.
        """
        for seed in range(1, RERUNS + 1):
            rerun = self._once(seed, batches, steps)
            if rerun.cut:
                break
            self.done.append(rerun)
        self.stepper.state.load(self.start)

    def first_failed(self) -> Optional[Rerun]:
        """Return the first that failed, with the states before its failure."""
        return next((r for r in self.done if r.symptom is not None), None)

    def _once(self, seed: int, batches: int, steps: int) -> Rerun:
        rerun = Rerun(seed)
        state = self.stepper.state
        state.load(self.start)
        bad_before, after = state.bad(self.start), self.start
        rerun.recent = collections.deque(maxlen=self.keep if self.first_failed() is None else 1)
        for index, batch in self._batches(seed, batches, steps):
            if time.monotonic() > self.deadline:
                rerun.cut = True
                break
            rerun.recent.append((rerun.steps, after, batch))
            outcome = self.stepper.own(batch)
            after = state.snapshot()
            self.stepper.judge(outcome, bad_before, after)
            rerun.steps += 1
            rerun.symptom = outcome.symptom_beyond(self.limit)
            if rerun.symptom is not None:
                rerun.index, rerun.outcome = index, outcome
                break
        return rerun

    def _batches(self, seed: int, batches: int, steps: int) -> Iterator[Tuple[int, Any]]:
        random = np.random.RandomState(seed)
        left = steps
        while left > 0:
            begun = left
            try:
                for item in shuffled(enumerate(self.stepper.once(batches)), random, self._held()):
                    yield item
                    left -= 1
                    if left == 0:
                        return
            except EndOfData:
                return
            if left == begun:
                return

    def _held(self) -> int:
        size = self.stepper.largest_batch()
        return int(max(2, min(SHUFFLED, SHUFFLED_BYTES // max(1, size))))


def shuffled(items: Iterable[Any], random: Any, held: int) -> Iterator[Any]:
    """Items in another order; no more than `held` of them are in memory."""
    waiting: List[Any] = []
    for item in items:
        if len(waiting) < held:
            waiting.append(item)
            continue
        place = int(random.randint(held))
        yield waiting[place]
        waiting[place] = item
    for place in random.permutation(len(waiting)):
        yield waiting[int(place)]
