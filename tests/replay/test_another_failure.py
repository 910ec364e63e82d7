"""Replays of something that is not the run: another program, batches of another shape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.replay import ReplayResult, ReplayStatus
from forensics.domain.run import Run, Series
from forensics.replay.request import ReplayOptions, ReplayRequest
from forensics.replay.runner import run_replay
from tests.replay.replaying import PROGRAMS, clean, replay, train

pytestmark = [pytest.mark.tf, pytest.mark.slow]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train("another_program", tmp_path_factory.mktemp("ckpt"))


def of_run(function: str, checkpoint: Path, losses: list[float], **fields: Any) -> ReplayResult:
    """Replay beside a log of one loss a step and two names of one checkpoint."""
    n = len(losses)
    loss = Series(
        Quantity.TRAIN_LOSS, "loss", ".", StepAxis.BATCH, np.arange(n), np.asarray(losses),
        np.zeros(n),
    )  # fmt: skip
    states = (clean(checkpoint), replace(clean(checkpoint), step=8))
    run = Run("run", str(checkpoint.parent), (loss,), states)
    entry = f"{PROGRAMS / 'another_program.py'}:{function}"
    request = ReplayRequest(
        run, entry, device="cpu", timeout=240.0, options=ReplayOptions(trials=False), **fields
    )
    return run_replay(request, lambda line: None)


def test_another_program_is_not_called_a_reproduction(saved: Path) -> None:
    losses = [1.0] * 14 + [np.nan] * 3
    result = of_run("replay_case", saved, losses, symptom="non_finite", failing_step=14,
                    interval=(13, 14))  # fmt: skip
    assert result.status is ReplayStatus.NOT_REPRODUCED
    assert result.reason.startswith("no checkpoint could be restored: the replay started from")
    assert "another failure was met at step 3, where the run's log is finite" in result.reason
    assert result.reason.count("not fit the case") == 1
    assert "candidates" not in result.reason
    assert (result.origin, result.step, result.observation) == (None, None, None)
    assert result.started_from is None


def test_the_same_failure_where_the_log_has_it_is_reproduced(saved: Path) -> None:
    losses = [1.0] * 3 + [np.nan] * 14
    result = of_run("replay_case", saved, losses, symptom="non_finite", failing_step=3,
                    interval=(2, 3))  # fmt: skip
    assert (result.status, result.step) == (ReplayStatus.REPRODUCED, 3)
    assert result.origin is not None and result.origin.input is not None


def test_a_healthy_run_is_observed_at_a_batch_that_it_had(saved: Path) -> None:
    result = of_run("finite_case", saved, [1.0] * 12)
    assert (result.step, result.started_from) == (8, saved.name)
    assert result.reason.startswith("no failure to reproduce; one step was observed")
    assert "no batch" not in result.reason
    assert result.observation is not None and result.observation.step == 8


def test_data_that_ends_before_the_checkpoint_is_observed_at_its_beginning(saved: Path) -> None:
    result = of_run("finite_case", saved, [1.0] * 40, step_offset=6)
    assert (result.step, result.started_from) == (0, None)
    assert result.observation is not None and result.observation.first_step_of_run


def test_a_batch_that_does_not_pass_through_the_model_is_told_by_its_shape() -> None:
    result = replay("another_program", "wide_case", failing_step=3)
    assert result.status is ReplayStatus.NOT_RUN
    assert result.reason == (
        "batch 0 does not pass through the model: x has shape (8, 6), the model takes (None, 4)"
    )


def test_a_model_that_only_its_own_step_can_call_is_replayed() -> None:
    result = replay("another_program", "own_step_case", failing_step=3)
    assert (result.status, result.step) == (ReplayStatus.REPRODUCED, 3)
    assert result.symptom == "loss"
