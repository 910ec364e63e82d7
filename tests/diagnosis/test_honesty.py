"""No claim beyond what was seen: grades, wordings, rates, replays and operands."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from forensics.detectors.registry import inspect
from forensics.detectors.scenes import (
    checkpoint,
    curve,
    falling,
    logged,
    origin,
    replayed,
    run_of,
    tensor,
)
from forensics.diagnosis import diagnose
from forensics.diagnosis.clues import Clue, Sign
from forensics.diagnosis.mechanisms import is_growth, origin_clues, replay_clues
from forensics.diagnosis.remedies import remedies
from forensics.diagnosis.signs import finding_clues
from forensics.diagnosis.weigh import weigh
from forensics.domain.diagnosis import Cause, Diagnosis, Grade
from forensics.domain.findings import Finding
from forensics.domain.quantity import Quantity
from forensics.domain.replay import Phase, ReplayStatus, StepObservation, Trial, TrialStatus
from forensics.domain.run import TensorKind
from forensics.domain.scene import Scene

NAN = math.nan
SAFE = ("safe_sqrt", "safe_division", "double_where", "safe_log", "safe_exp", "clip_operand",
        "regularise_matrix")  # fmt: skip


def answer(scene: Scene) -> tuple[Diagnosis, ...]:
    return diagnose(scene, inspect(scene).findings)


def found_by(scene: Scene, code: str) -> list[Finding]:
    return [f for f in inspect(scene).findings if f.code == code]


def test_a_cause_that_only_the_shape_supports_is_inferred() -> None:
    first = answer(logged(curve([*falling(20), NAN, NAN])))[0]
    assert first.cause is Cause.UNSAFE_OPERATION
    assert first.grade is Grade.INFERRED
    assert "not observed" in first.summary


def test_a_poisoned_checkpoint_shows_no_cause_by_itself() -> None:
    saved = [checkpoint(10), checkpoint(20, tensor("w", nan=4))]
    first = answer(logged(curve([*falling(20), NAN, NAN]), checkpoints=saved))[0]
    assert first.cause is not Cause.UNKNOWN
    assert first.grade is Grade.INFERRED


def test_a_reproduced_failure_of_an_unknown_op_leaves_the_cause_inferred() -> None:
    scene = replayed(run_of(curve([*falling(20), NAN])), step=20)
    first = answer(scene)[0]
    assert first.cause is not Cause.UNKNOWN
    assert first.grade is Grade.INFERRED


@pytest.mark.parametrize("factor", [1.6, 2.5, 5.0])
def test_a_modest_rise_alone_names_no_learning_rate(factor: float) -> None:
    calm = np.array(falling(120, noise=0.01))
    scene = logged(curve([*calm, *(0.5 * factor * (1 + 0.01 * np.sin(np.arange(60.0))))]))
    assert found_by(scene, "LOS001")
    first = answer(scene)[0]
    assert first.cause is Cause.UNKNOWN or first.confidence < 0.5


@pytest.mark.parametrize("sign", [Sign.OSCILLATES, Sign.DIVERGED, Sign.ROSE, Sign.STALLED])
def test_one_sign_of_a_curve_is_at_most_possible(sign: Sign) -> None:
    first = weigh([Clue(sign, "seen")])[0]
    assert first.cause in (Cause.UNKNOWN, Cause.PLATEAU) or first.confidence < 0.5


@pytest.mark.parametrize(
    ("optimizer", "rate", "large"),
    [(None, 1.0, False), ("Adadelta", 1.0, False), ("Mine", 0.1, False), ("SGD", 0.1, False),
     ("SGD", 5.0, True), ("Adam", 0.1, True), ("AdamW", 0.1, True), ("Adam", 1e-3, False)],
)  # fmt: skip
def test_a_rate_is_large_only_for_a_known_optimizer(
    optimizer: str | None, rate: float, large: bool
) -> None:
    rates = curve([rate] * 22, Quantity.LEARNING_RATE)
    config = {"optimizer": optimizer} if optimizer else {}
    found = answer(logged(curve([*falling(20), NAN, NAN]), rates, config=config))
    said = any("is large" in d.summary for d in found)
    assert said is large


def not_reproduced(**fields: Any) -> set[Sign]:
    known: dict[str, Any] = {
        "step": 19, "status": ReplayStatus.NOT_REPRODUCED, "started_from": "ckpt-10",
    }  # fmt: skip
    scene = replayed(run_of(curve([*falling(20), NAN])), **(known | fields))
    return {c.sign for c in replay_clues(scene, inspect(scene).findings)}


def test_only_steps_that_ran_from_a_saved_state_stay_finite() -> None:
    assert Sign.NOT_REPRODUCED in not_reproduced()
    assert Sign.NOT_REPRODUCED not in not_reproduced(started_from=None)
    assert Sign.NOT_REPRODUCED not in not_reproduced(observation=None)
    assert Sign.NOT_REPRODUCED not in not_reproduced(symptom="raised")
    assert Sign.NOT_REPRODUCED not in not_reproduced(observation=StepObservation(19, NAN))


def test_the_axis_of_a_reduction_is_no_operand() -> None:
    axis = replace(tensor("axis", TensorKind.OTHER, zero=1, low=0, high=0, dtype="int32"))
    empty = tensor("e", TensorKind.OTHER, shape=(0,))
    found = origin("Mean", phase=Phase.LOSS, inputs=(empty, axis))
    (clue,) = origin_clues(found, replayed(origin=found), set())
    assert "of an empty tensor" in clue.text
    huge = tensor("a", TensorKind.OTHER, low=-1e30, high=1e30)
    assert is_growth(origin("Sum", inputs=(huge, axis)))
    many = tensor("shape", TensorKind.OTHER, low=1, high=4096, dtype="int64")
    small = tensor("a", TensorKind.OTHER, low=0.1, high=0.5, dtype="float16")
    assert not is_growth(origin("Frobnicate", dtype="float16", inputs=(small, many)))


@pytest.mark.parametrize(
    ("op", "own"),
    [("Exp", "safe_exp"), ("Expm1", "safe_exp"), ("Acos", "clip_operand"), ("Sqrt", "safe_sqrt"),
     ("Cholesky", "regularise_matrix"), ("Lgamma", None), ("Mul", None)],
)  # fmt: skip
def test_the_safe_forms_are_those_of_the_op(op: str, own: str | None) -> None:
    slugs = [r.remedy for r in remedies(("from_logits", *SAFE), replayed(origin=origin(op)).replay)]
    if own is None:
        assert slugs == ["from_logits", "double_where"]
    else:
        assert slugs == [own, "from_logits"]


def test_a_rate_that_delays_calls_for_a_lower_one() -> None:
    tried = Trial("learning_rate_div_10", "", TrialStatus.DELAYED, "", 10, 50, 1.0, None, 0)
    scene = replayed(origin=origin("Square"), trials=(tried,))
    slugs = ("learning_rate_div_10", "warm_up", "clip_global_norm")
    found = remedies(slugs, scene.replay)
    assert [r.remedy for r in found[:3]] == [
        "learning_rate_div_10", "learning_rate_div_100", "warm_up",
    ]  # fmt: skip
    assert found[1].trial is None and "/ 100" in found[1].snippet


def test_a_norm_that_is_huge_from_the_start_did_not_grow() -> None:
    loss, norm = [4e3, 3.9e3, 3.8e3, 3.7e3, NAN], [5e6, 4.9e6, 4.8e6, 4.8e6, NAN]
    scene = logged(curve(loss), curve(norm, Quantity.GRADIENT_NORM))
    (found,) = found_by(scene, "GRD001")
    assert "is 5e+06 from batch 0 on" in found.summary
    assert "grows" not in found.summary
    assert Sign.HUGE_AT_START in {c.sign for c in finding_clues(scene, [found])}
