"""Whole replays with their trials: the remedy that belongs to the cause is verified, others not."""

from __future__ import annotations

from pathlib import Path

import pytest

from forensics.domain.replay import ReplayResult, ReplayStatus, Trial, TrialStatus
from tests.replay.replaying import replay, train

pytestmark = pytest.mark.tf

SECONDS = 90.0
FIXED, STILL_FAILS = TrialStatus.FIXED, TrialStatus.STILL_FAILS


def by_remedy(result: ReplayResult) -> dict[str, Trial]:
    return {t.remedy: t for t in reversed(result.trials)}


def test_the_safe_form_of_a_logarithm_is_verified_and_smaller_steps_are_not(tmp_path: Path) -> None:
    checkpoint = train("log_of_zero", tmp_path)
    result = replay("log_of_zero", checkpoint=checkpoint, failing_step=12, trial_seconds=SECONDS)
    trials = by_remedy(result)
    safe = trials["safe_log"]
    assert safe.status is FIXED
    assert safe.steps_survived is not None and safe.steps_survived >= 50
    assert safe.change.startswith("operand of Log at least 1e-7 at line 41 of log_of_zero.py")
    assert result.trials[0].status is FIXED
    # no clipping and no rate helps against a row of the data
    for remedy in ("learning_rate_div_10", "clip_global_norm"):
        assert (trials[remedy].status, trials[remedy].steps_survived) == (STILL_FAILS, 8)
    rows = trials["drop_outliers"]
    assert (rows.status, rows.rows_dropped) == (FIXED, 1)
    assert trials["float32"].status is TrialStatus.NOT_APPLICABLE


@pytest.mark.slow
def test_two_origins_need_two_safe_forms() -> None:
    result = replay("two_origins", failing_step=3, trial_seconds=SECONDS)
    safe = by_remedy(result)["safe_log"]
    assert safe.change.count("at line") == 2 and "RealDiv" in safe.change
    assert safe.steps_survived is not None and safe.steps_survived >= 50


@pytest.mark.slow
def test_clipping_by_value_helps_where_the_norm_overflows() -> None:
    result = replay("squared_gradient", failing_step=6, trial_seconds=SECONDS)
    trials = by_remedy(result)
    assert trials["clip_global_norm"].status is STILL_FAILS
    assert trials["clip_value"].steps_survived == 56


@pytest.mark.slow
def test_float32_survives_where_half_precision_overflows() -> None:
    result = replay("half_precision", failing_step=4, trial_seconds=SECONDS)
    trials = by_remedy(result)
    assert trials["float32"].steps_survived == 55
    assert trials["learning_rate_div_10"].status is STILL_FAILS


@pytest.mark.slow
def test_a_learning_rate_that_is_too_high_is_proven_by_a_lower_one() -> None:
    result = replay("high_rate", failing_step=300, interval=(0, 300), trial_seconds=SECONDS)
    assert result.status is ReplayStatus.REPRODUCED
    assert result.step is not None and 0 < result.step < 300
    lower = by_remedy(result)["learning_rate_div_10"]
    assert lower.status is FIXED
    assert lower.steps_survived is not None and lower.steps_survived > 50
    assert lower.loss_after is not None and lower.loss_before is not None
    assert lower.loss_after < lower.loss_before
    assert f"fails at step {result.step}" in lower.baseline


@pytest.mark.slow
def test_a_divergence_is_judged_by_the_limit_of_the_loss() -> None:
    result = replay(
        "high_rate", failing_step=8, interval=(2, 10), symptom="diverged", loss_limit=1e4,
        trial_seconds=SECONDS,
    )  # fmt: skip
    assert result.status is ReplayStatus.REPRODUCED
    assert result.symptom == "diverged"
    assert result.step is not None and result.step < 20
    assert "passed" in result.attempts[0].outcome
    assert result.attempts[0].times_reproduced == 3
    assert result.origin is None
    assert by_remedy(result)["learning_rate_div_10"].status is FIXED


@pytest.mark.slow
def test_a_run_that_stays_finite_and_cannot_predict_is_bettered() -> None:
    result = replay("suspect", "one_unit_softmax_case", trial_seconds=SECONDS)
    assert result.status is ReplayStatus.NOT_REPRODUCED
    trials = by_remedy(result)
    assert trials["match_loss"].status is FIXED
    assert "0 % of the predictions wrong" in trials["match_loss"].change
    assert trials["learning_rate_div_10"].status is STILL_FAILS


@pytest.mark.slow
def test_a_healthy_run_gets_no_trials() -> None:
    assert replay("suspect", "healthy_case", trial_seconds=SECONDS).trials == ()
