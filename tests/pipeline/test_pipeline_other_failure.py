"""Whether a replay met the failure of the files: what they rule out is another one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from forensics.detectors.scenes import checkpoint, curve, falling, origin, run_of, tensor
from forensics.diagnosis.clues import Sign
from forensics.diagnosis.mechanisms import replay_clues
from forensics.domain.diagnosis import Grade
from forensics.domain.quantity import StepAxis
from forensics.domain.replay import (
    Blame,
    ReplayResult,
    ReplayStatus,
    Trial,
    TrialStatus,
    WhoseBug,
)
from forensics.domain.run import CheckpointStats, Run, Series
from forensics.domain.scene import Scene
from forensics.pipeline.analysis import analyze_run
from forensics.pipeline.other_failure import met_another, of_this_failure
from forensics.pipeline.target import Target

NAN_AT_26 = [*falling(26), *[math.nan] * 4]


def reproduced(step: int, symptom: str | None) -> ReplayResult:
    tried = Trial("safe_log", "log(x + eps)", TrialStatus.FIXED, "fails", 8, 8, 1.0, 0.5, 0)
    return ReplayResult(
        ReplayStatus.REPRODUCED, "", step=step, symptom=symptom, origin=origin("Log"),
        trials=(tried,),
    )  # fmt: skip


def every(distance: int, values: list[float]) -> Series:
    steps = np.arange(len(values), dtype=np.int64) * distance
    dense = curve(values)
    return Series(
        dense.quantity, dense.tag, ".", dense.step_axis, steps, dense.values, dense.wall_times
    )


def poisoned(step: int) -> CheckpointStats:
    return checkpoint(step, tensor("w", nan=4))


def is_other(run: Run, target: Target, step: int, symptom: str | None) -> bool:
    return met_another(of_this_failure(run, target, reproduced(step, symptom))) is not None


@pytest.mark.parametrize(
    ("step", "symptom", "other"),
    [
        (26, "loss", False),
        (25, "loss", False),
        (27, "loss", False),
        (24, "state", False),
        (24, "loss", True),
        (5, "state", False),
        (5, "loss", True),
        (5, "raised", True),
        (28, "state", True),
        (28, "loss", True),
    ],
)
def test_a_nan_loss_rules_out_an_earlier_loss_and_everything_later(
    step: int, symptom: str, other: bool
) -> None:
    target = Target("non_finite", 26, (25, 26), tag="loss")
    assert is_other(run_of(curve(NAN_AT_26)), target, step, symptom) is other


@pytest.mark.parametrize(("saved", "other"), [(24, False), (25, False), (26, True)])
def test_only_a_clean_state_after_the_step_rules_out_a_bad_state(saved: int, other: bool) -> None:
    run = run_of(curve(NAN_AT_26), checkpoints=[checkpoint(saved, tensor("w"))])
    target = Target("non_finite", 26, (max(25, saved), 26), tag="loss")
    assert is_other(run, target, 24, "state") is other


@pytest.mark.parametrize(
    ("step", "symptom", "other"),
    [(9, "state", False), (13, "state", False), (20, "state", False), (8, "state", True),
     (21, "state", True), (15, "loss", True)],
)  # fmt: skip
def test_a_bad_checkpoint_allows_all_steps_since_the_clean_one(
    step: int, symptom: str, other: bool
) -> None:
    states = [checkpoint(10, tensor("w")), poisoned(20)]
    run = run_of(curve(falling(40)), checkpoints=states)
    target = Target("non_finite", 19, (10, 19), tag="w")
    assert is_other(run, target, step, symptom) is other


def test_a_finite_loss_between_sparse_points_rules_out_a_loss_before_it() -> None:
    run = run_of(every(10, [2.0, 1.8, 1.6, math.nan]))
    target = Target("non_finite", 30, (20, 30), tag="loss")
    assert not is_other(run, target, 25, "loss")
    assert is_other(run, target, 5, "loss")


def test_a_divergence_is_met_late_but_not_where_the_loss_was_calm() -> None:
    run = run_of(curve([*falling(40), *[1e4 * 2.0**k for k in range(20)]]))
    target = Target("diverged", 40, (38, 42), tag="loss", loss_limit=1e5)
    assert not is_other(run, target, 50, "diverged")
    assert is_other(run, target, 12, "diverged")


def test_an_epoch_rules_nothing_out() -> None:
    run = run_of(curve([1.0, math.nan], tag="epoch_loss", axis=StepAxis.EPOCH))
    assert not is_other(run, Target("non_finite", 1, (1, 1), StepAxis.EPOCH, "epoch_loss"), 70, "")


def test_another_failure_leaves_date_checkpoint_and_grade_with_the_files() -> None:
    run = run_of(curve(NAN_AT_26), checkpoints=[checkpoint(20, tensor("w"))])
    alone = analyze_run(run, lambda _: None).document
    document = analyze_run(run, lambda _: None, lambda _: reproduced(5, "loss")).document
    verdict = document["verdict"]
    for key in ("first_bad_step", "first_bad_step_interval", "cause", "grade", "confidence"):
        assert verdict[key] == alone["verdict"][key]
    assert verdict["first_bad_step"] == 26
    assert document["last_checkpoint_before_onset"] == "ckpt-20"
    assert verdict["grade"] not in (Grade.REPRODUCED, Grade.FIX_VERIFIED)
    assert "another failure, at step 5" in verdict["headline"]
    replay = document["replay"]
    assert (replay["status"], replay["step"], replay["origin"]) == ("not_reproduced", 5, None)
    assert replay["reason"].startswith("another failure was met at step 5")
    assert [o["op_type"] for o in replay["other_origins"]] == ["Log"]
    assert replay["trials"] == []


def test_a_slot_that_was_bad_before_the_loss_dates_the_failure() -> None:
    run = run_of(curve(NAN_AT_26), checkpoints=[checkpoint(20, tensor("w"))])
    verdict = analyze_run(run, lambda _: None, lambda _: reproduced(24, "state")).verdict
    assert (verdict["first_bad_step"], verdict["first_bad_step_interval"]) == (24, [24, 24])


def test_nothing_of_another_failure_speaks_for_this_one() -> None:
    run, target = run_of(curve(NAN_AT_26)), Target("non_finite", 26, (25, 26), tag="loss")
    met = replace(
        reproduced(5, "loss"), whose_bug=WhoseBug(Blame.FRAMEWORK_DEFECT, "wrong"),
        culprits=((1,),), row_notes=("row 1",), instrument="inlined_graph",
        degradations=("of the instrument",), reproducer="r.py", reproducer_script="import sys",
    )  # fmt: skip
    kept = of_this_failure(run, target, met)
    assert kept.status is ReplayStatus.NOT_REPRODUCED
    assert (kept.whose_bug, kept.culprits, kept.row_notes) == (None, (), ())
    assert (kept.instrument, kept.degradations) == (None, ())
    assert (kept.reproducer, kept.reproducer_script) == (None, None)


@pytest.mark.parametrize("status", [ReplayStatus.REPRODUCED, ReplayStatus.NOT_REPRODUCED])
def test_a_wrong_kernel_is_held_against_a_failure_that_was_met(status: ReplayStatus) -> None:
    answer = ReplayResult(status, "", step=5, whose_bug=WhoseBug(Blame.FRAMEWORK_DEFECT, "wrong"))
    signs = {c.sign for c in replay_clues(Scene(run_of(), replay=answer), [])}
    assert (Sign.KERNEL_WRONG in signs) is (status is ReplayStatus.REPRODUCED)
