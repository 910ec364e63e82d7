"""A failure that the run cannot have had: what its logs and checkpoints hold against it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from forensics.replay.worker import arrays
from forensics.replay.worker.stepping.contradiction import Evidence, rising
from forensics.replay.worker.stepping.stepper import EndOfData, Outcome

CALM = [1.0, 0.9, 1.1, 1.0, 0.9, 1.0, 1.1, 1.0] * 3
RISING = [*CALM, 4.0, 9.0, 30.0, 100.0, 1e4]


class Steps:
    """A stepper whose loss is NaN at some steps; its data ends."""

    def __init__(self, bad: Iterable[int] = (), end: int = 1000) -> None:
        self.bad, self.end, self.ran = set(bad), end, list[int]()

    def batch(self, step: int) -> int:
        if step >= self.end:
            raise EndOfData
        return step

    def own(self, step: int) -> Outcome:
        self.ran.append(step)
        return Outcome(math.nan, arrays.NAN, None) if step in self.bad else Outcome(1.0, 0, None)


def against(
    symptom: str,
    step: int,
    steps: Steps | None = None,
    losses: list[float] = CALM,
    bad_state: bool = True,
    **request: Any,
) -> str | None:
    outcome = {
        "loss": Outcome(math.nan, arrays.NAN, None),
        "raised": Outcome(None, 0, ValueError("no")),
    }.get(symptom, Outcome(1.0, 0, None))
    outcome.bad_state = ["w"] if bad_state else []
    course = SimpleNamespace(symptom=symptom, step=step, outcome=outcome, losses=losses)
    return Evidence(request, steps or Steps()).against(course)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad_state", [True, False])
def test_a_loss_that_the_log_knows_as_finite_is_another_failure(bad_state: bool) -> None:
    said = against("loss", 25, finite_losses=[[0, 107]], clean_step=107, bad_state=bad_state)
    assert said == "another failure was met at step 25, where the run's log is finite"


def test_a_loss_between_logged_steps_is_judged_by_the_checkpoints() -> None:
    sampled = [[s, s] for s in range(0, 100, 10)]
    assert against("loss", 25, finite_losses=sampled, clean_step=90) is None
    said = against("loss", 25, finite_losses=sampled, clean_step=90, clean_state=80)
    assert said is not None and "checkpoint of step 80 is clean" in said
    # what was not kept, a step that loss scaling skips, harms no checkpoint
    assert against("loss", 25, clean_state=80, clean_step=90, bad_state=False) is None


def test_the_failure_within_its_interval_is_the_runs() -> None:
    known: dict[str, Any] = {"finite_losses": [[0, 107]], "clean_state": 100, "clean_step": 107}
    for symptom in ("loss", "state", "raised"):
        assert against(symptom, 107, **known) is None
        assert against(symptom, 108, **known) is None
        assert against(symptom, 25, **known) is not None


def test_a_slot_that_goes_bad_before_the_loss_does_is_the_runs_failure() -> None:
    steps = Steps(bad=[26, 27])
    known: dict[str, Any] = {"finite_losses": [[0, 25]], "clean_step": 25, "clean_state": 20}
    assert against("state", 24, steps, **known) is None
    assert against("state", 20, steps, **known) is None
    assert against("state", 19, steps, **known) is not None


def test_bad_state_is_followed_to_a_loss_that_the_log_contradicts() -> None:
    known: dict[str, Any] = {"finite_losses": [[0, 107]], "clean_step": 107}
    said = against("state", 25, Steps(bad=range(26, 200)), **known)
    assert said is not None and "step 25" in said and "step 26" in said
    followed = Steps()
    assert against("state", 25, followed, **known) is None
    assert followed.ran[0] == 26 and len(followed.ran) < 20
    assert against("state", 25, Steps(end=26), **known) is None


def test_a_divergence_may_be_a_little_ahead_of_the_run() -> None:
    known: dict[str, Any] = {"finite_losses": [[0, 60]], "clean_step": 60, "clean_state": 56}
    assert against("loss", 55, losses=RISING, **known) is None
    assert against("loss", 55, losses=CALM, **known) is not None
    assert against("loss", 25, losses=RISING, **known) is not None


def test_an_error_before_the_last_clean_step_is_another_failure() -> None:
    said = against("raised", 3, clean_step=8)
    assert said is not None and "which the run went through" in said and "ValueError: no" in said
    assert against("raised", 3) is None
    assert against("raised", 3, finite_losses=[[0, 9]]) is not None


def test_an_error_of_the_program_amid_a_log_that_goes_on_is_another_failure() -> None:
    said = against("raised", 3, clean_step=2, observe_step=8)
    assert said is not None and "the run's log goes on" in said and "ValueError: no" in said
    assert against("raised", 8, clean_step=2, observe_step=8) is None


@pytest.mark.tf
def test_a_refusal_of_an_op_may_be_nan_elsewhere() -> None:
    errors = pytest.importorskip("tensorflow").errors
    for text, accepted in (("bad label [Op:GatherV2]", True), ("no such thing", False)):
        outcome = Outcome(None, 0, errors.InvalidArgumentError(None, None, text))
        course: Any = SimpleNamespace(symptom="raised", step=3, outcome=outcome, losses=CALM)
        evidence = Evidence({"clean_step": 2, "observe_step": 8}, Steps())  # type: ignore[arg-type]
        assert (evidence.against(course) is None) == accepted


def test_a_divergence_and_a_run_without_evidence_are_not_contradicted() -> None:
    assert against("diverged", 3, finite_losses=[[0, 9]], clean_step=8) is None
    assert against("loss", 3) is None
    assert against("state", 3, Steps(bad=range(100))) is None


def test_rising_is_well_above_the_healthy_level() -> None:
    assert rising(RISING)
    assert not rising(CALM)
    assert not rising([])
