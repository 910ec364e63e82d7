"""A failing step, and the steps that led to it."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any, Deque, List, Optional, Tuple

from .state import Snapshot
from .stepper import Outcome

if TYPE_CHECKING:
    from ..localising.localise import Localised

Moment = Tuple[int, Snapshot, Any]
"""A step, the state before it, its batch."""


class Failure:
    """The step that failed, with the states and batches round it."""

    def __init__(self, moment: Moment, outcome: Outcome, symptom: str) -> None:
        self.step, self.before, self.batch = moment
        self.outcome, self.symptom = outcome, symptom
        self.healthy: Optional[Tuple[Snapshot, Any]] = None
        self.trial_start: Tuple[int, Snapshot] = (self.step, self.before)
        self.losses: List[float] = []
        self.found: Optional[Localised] = None
        """What the localiser said, once it was asked."""


class Course:
    """Steps that were run one after the other: the last of them, every loss, how it ended."""

    def __init__(self, first: int, entered: Snapshot, keep: int) -> None:
        self.first, self.entered = first, entered
        self.recent: Deque[Moment] = collections.deque(maxlen=keep)
        self.losses: List[float] = []
        self.outcome: Optional[Outcome] = None
        self.symptom: Optional[str] = None

    @property
    def step(self) -> int:
        """The last step that was run."""
        return self.recent[-1][0]
