"""What a detector answers: a finding with its proof, or why it could not look."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from forensics.domain.evidence import Evidence
from forensics.domain.quantity import Quantity, StepAxis


class Severity(StrEnum):
    """How bad; never how sure."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return ("error", "warning", "info").index(self.value)


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation of something wrong, with its evidence.

    ``onset_step`` is on ``step_axis``; ``onset_interval`` (lo, hi) inclusive. ``p_value`` is given
    only where it is calibrated, ``score`` where a number ranks but is no probability.
    """

    code: str
    name: str
    severity: Severity
    summary: str
    onset_step: int | None
    onset_interval: tuple[int, int] | None
    step_axis: StepAxis
    evidence: tuple[Evidence, ...]
    p_value: float | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        if not self.evidence:
            raise ValueError(f"finding {self.code} carries no evidence")


@dataclass(frozen=True, slots=True)
class NotChecked:
    """The third answer: silence is never a pass.

    ``needs`` names what was missing, ``how_to_record`` is the line of code that would log it next
    time.
    """

    code: str
    reason: str
    needs: tuple[str, ...] = ()
    how_to_record: str | None = None


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """First step of a new segment of a series.

    ``kind`` is one of level, slope, variance, spike, blow_up, non_finite, ...; ``interval`` (lo,
    hi) of stated ``level``; ``effect`` is what a person reads (x-fold of the level before).
    """

    tag: str
    quantity: Quantity
    step: int
    step_axis: StepAxis
    interval: tuple[int, int]
    level: float | None
    kind: str
    p_value: float | None
    effect: float | None


@dataclass(frozen=True, slots=True)
class LeadIndicator:
    """A series that left its band before the failure."""

    tag: str
    step: int
    steps_before_failure: int
