"""The strict meaning of "fixed", for a run that fails."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

import numpy as np

from ..stepping.losses import LAST, gain, healthy_level, learned, level, noise_of
from .change import Change
from .course import MAX_DROPPED, Tried

TOLERANCE = 0.1
"""A loss this much (relative) above the healthy level is not back at it."""
NOISE = 3.0
"""Nor is it back when it is more than this many typical differences of two steps above it."""
RANGE = 0.05
"""Share of the fall so far that the loss may stay above its level: it is nearly 0 after a long
fall."""
HEALTHY_STEPS = 4
"""Fewer healthy steps before the failure tell nothing of level and fall."""
CLEAR_FALL = 0.03
"""Where there was no healthy part the loss has to fall by this much (relative to what the weights
of the start give on the same batches)."""
SHARE = 0.5
"""Part of what the healthy steps gained that the steps of a trial, which are more, have to gain: a
rate of nearly 0 gains nothing."""
NO_FALL = " (finite, but the loss does not fall)"
COMPARED = 16
"""Last steps of a trial that are compared with the weights of the start."""


class Judge:
    """Judges the steps run with a change.

    Parameters
    ----------
    start, failing_step : int
        Where trials start and where the baseline fails.
    losses : list of float
        Losses before the failure, in order; they may begin before `start`.
    game : bool
        Several optimizers work against each other: the loss of one is no measure of training, and
        all that can be asked is that it stays in the range of its healthy part.
    """

    def __init__(
        self, start: int, failing_step: int, losses: List[float], game: bool = False
    ) -> None:
        self.start, self.failing_step, self.game = start, failing_step, game
        self.losses = losses
        self.healthy = healthy_level(losses)[0]
        if game and losses:
            self.healthy = float(np.nanpercentile(losses, 90))
        self.known = len(losses) >= HEALTHY_STEPS
        self.gained: Optional[float] = None
        """What the healthy steps from `start` on gained; None: not known, 0: nothing."""

    def learn_from(self, baseline: Tried, frozen: Dict[int, float]) -> None:
        """Tell from the healthy steps of the baseline how much training gains here."""
        if baseline.survived < HEALTHY_STEPS:
            return
        if self.game:
            self.gained = 0.0
            return
        last = dict(list(baseline.by_step.items())[-max(HEALTHY_STEPS, COMPARED // 2) :])
        found = gain(last, frozen)
        self.gained = found[0] if found is not None and learned(found) else 0.0

    @property
    def tolerance(self) -> float:
        """How far above the healthy level a loss still counts as back at it."""
        if self.healthy is None:
            return 0.0
        first = level(self.losses[: max(1, len(self.losses) // 4)])
        fall = max(0.0, (first or self.healthy) - self.healthy)
        noise = noise_of(self.losses) if len(self.losses) >= HEALTHY_STEPS else 0.0
        return max(TOLERANCE * abs(self.healthy), NOISE * noise, RANGE * fall)

    def before(self, tried: Tried, baseline_failed_at: int) -> Optional[Tuple[str, str]]:
        """Judge what needs no comparison: a run that fails, or ended too early; None: go on."""
        if tried.failed_at is not None:
            if tried.failed_at > baseline_failed_at:
                return "delayed", ""
            return "still_fails", ""
        if tried.cut:
            return "not_applicable", " (no time left)"
        if tried.survived <= self.failing_step - self.start:
            return "not_applicable", " (no more data)"
        if tried.seen and tried.dropped > MAX_DROPPED * tried.seen:
            return "still_fails", " (finite, but too many rows had to go)"
        if level(tried.losses[-LAST:]) is None:
            return "delayed", " (finite, but no loss tells whether it still learns)"
        return None

    def after(self, change: Change, tried: Tried, frozen: Dict[int, float]) -> Tuple[str, str]:
        """Judge a run that stayed finite by its losses.

        Parameters
        ----------
        change : Change
            What was changed.
        tried : Tried
            How the steps went.
        frozen : dict of int to float
            Losses of its last steps with the weights of the start, under the same change.
        """
        end = level(tried.losses[-LAST:])
        assert end is not None
        if change.comparable and not change.from_built and self.known and self.healthy is not None:
            above = end - self.healthy
            if above > self.tolerance:
                return "still_fails", " (finite, but the loss does not come back to its level)"
        last = {s: x for s, x in tried.by_step.items() if s in frozen}
        found = gain(last, frozen)
        if found is None:
            return "delayed", " (finite, but nothing tells whether it still learns)"
        if change.from_built or not change.comparable or self.gained is None:
            return self._clearly(found, frozen)
        if self.gained > 0:
            if learned(found) and found[0] >= SHARE * self.gained:
                return "fixed", ""
            if learned(found):
                return "delayed", " (finite, but it hardly learns any more)"
            return "still_fails", " (finite, but the loss no longer falls)"
        # nothing was gained before either: a loss that stands still, swings, or plays a game
        if change.slows and not learned(found):
            return "delayed", " (finite, but nothing tells whether it still learns)"
        return "fixed", ""

    @staticmethod
    def _clearly(found: Tuple[float, float], frozen: Dict[int, float]) -> Tuple[str, str]:
        """Without a healthy part to compare with the loss has to fall clearly."""
        scale = abs(float(np.median([x for x in frozen.values() if np.isfinite(x)])))
        if learned(found) and found[0] >= CLEAR_FALL * scale:
            return "fixed", ""
        return "still_fails", NO_FALL
