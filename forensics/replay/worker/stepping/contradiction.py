"""Whether the run itself can have met a failure that the replay met."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional

import numpy as np

from .losses import healthy_level
from .stepper import EndOfData, Stepper

if TYPE_CHECKING:
    from .failure import Course

AFTER = 10
"""Steps run on after the state went bad, to see what becomes of the loss."""
GRACE = 10
"""Steps by which a replay that diverges may be ahead of the run: small differences grow on the way
up. A bad batch is met at its own step."""
RISE = 2.0
"""A loss this many times its healthy level counts as rising."""
_AROUND = 5
_REFUSALS = {"InvalidArgumentError", "OutOfRangeError"}


class Evidence:
    """What logs and checkpoints hold against a failure.

    Parameters
    ----------
    request : dict
        ``finite_losses``: pairs (first, last) of steps whose logged loss is finite;
        ``clean_state``: steps whose result the last clean checkpoint holds, or None;
        ``clean_step``: last step that the run is known to have gone through, or None;
        ``observe_step``: last step that was logged, or None.
    stepper : Stepper
        Runs on after a failure of the state.
    """

    def __init__(self, request: Dict[str, Any], stepper: Stepper) -> None:
        self._spans: List[List[int]] = request.get("finite_losses") or []
        self._clean_state: Optional[int] = request.get("clean_state")
        self._clean_step: Optional[int] = request.get("clean_step")
        self._last_logged: Optional[int] = request.get("observe_step")
        self._stepper = stepper

    def against(self, course: Course) -> Optional[str]:
        """Say what contradicts the failure at the end of `course`; None when nothing does.

        The variables may be changed by it: bad state is followed for a few steps.
        """
        step, outcome = course.step, course.outcome
        if (
            outcome is not None
            and course.symptom == "raised"
            and self._went_on(step)
            and not _of_an_op(outcome)
        ):
            return "another failure was met at step %d, after which the run's log goes on: %s" % (
                step, outcome.describe()
            )  # fmt: skip
        if course.symptom == "diverged" or outcome is None or not self._before(step):
            return None
        met = "another failure was met at step %d, " % step
        if course.symptom == "raised":
            passed = self._clean_step is not None or self._finite(step)
            return met + "which the run went through: " + outcome.describe() if passed else None
        grace = GRACE if rising(course.losses) else 0
        if course.symptom == "loss" and self._finite(step) and self._last_finite() >= step + grace:
            return met + "where the run's log is finite"
        if not outcome.bad_state:
            return None
        if self._clean_state is not None and self._clean_state > step + grace:
            return met + "although the checkpoint of step %d is clean" % self._clean_state
        later = self._later(step) if course.symptom == "state" and not grace else None
        return None if later is None else met + later

    def _later(self, failed: int) -> Optional[str]:
        """Follow bad state to a loss that the run's log contradicts.

        A slot that is Inf stops its weight and leaves the loss finite; a weight that is NaN does
        not, unless its value is laundered or not used: only running on tells.
        """
        for step in range(failed + 1, min(failed + AFTER, self._last_finite()) + 1):
            try:
                batch = self._stepper.batch(step)
            except EndOfData:
                break
            symptom = self._stepper.own(batch).symptom
            if symptom == "loss" and self._finite(step):
                return (
                    "which makes the loss of step %d NaN or Inf; the run's log is finite there"
                    % step
                )
            if symptom is not None:
                break
        return None

    def _went_on(self, step: int) -> bool:
        return self._last_logged is not None and step < self._last_logged

    def _before(self, step: int) -> bool:
        """Whether a step lies before all that the run's failure can be, by its own account.

        The last step seen clean is not: logs may count from 1, and its update came after its loss.
        """
        return self._clean_step is None or step < self._clean_step

    def _finite(self, step: int) -> bool:
        return self._before(step) and any(first <= step <= last for first, last in self._spans)

    def _last_finite(self) -> int:
        return max((last for _, last in self._spans), default=-1)


def _of_an_op(outcome: Any) -> bool:
    """Whether an op refused its operands, where the run may have computed NaN.

    A label out of range is an error on a CPU and NaN on a GPU; any other error ends a run.
    """
    kinds = {
        k.__name__ for k in type(outcome.error).__mro__ if k.__module__.startswith("tensorflow")
    }
    text = str(outcome.error)
    return bool(kinds & _REFUSALS) and ("[Op:" in text or "node " in text)


def rising(losses: List[float]) -> bool:
    """Whether the loss was on its way up at the end."""
    level, _ = healthy_level(losses)
    around = losses[-_AROUND:]
    return bool(around and level and np.median(around) > RISE * abs(level))
