"""A run whose logs are finite because the error that ended it was never logged."""

from __future__ import annotations

import numpy as np
import pytest

from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.replay import ReplayStatus
from forensics.domain.run import Run, Series
from forensics.replay.request import ReplayOptions, ReplayRequest
from forensics.replay.runner import run_replay
from tests.replay.replaying import PROGRAMS

pytestmark = pytest.mark.tf


def logged(*steps: int) -> Run:
    at = np.asarray(steps, np.int64)
    loss = Series(
        Quantity.TRAIN_LOSS, "loss", ".", StepAxis.BATCH, at, np.ones(len(at)), np.zeros(len(at))
    )
    return Run("run", "/nowhere", (loss,))


def ended(run: Run) -> ReplayRequest:
    entry = f"{PROGRAMS / 'label_out_of_range'}.py:replay_case"
    return ReplayRequest(
        run, entry, device="cpu", timeout=240.0, options=ReplayOptions(trials=False)
    )


def test_the_error_after_the_last_logged_step_is_met() -> None:
    # its labels are out of range at step 3
    result = run_replay(ended(logged(0, 1, 2)), lambda line: None)
    assert (result.status, result.step) == (ReplayStatus.REPRODUCED, 3)
    assert result.symptom == "raised"
    assert result.origin is not None and result.origin.raised is not None
    assert "nothing was logged after step 2: step 3 raises an error" in result.reason


def test_an_error_long_after_the_end_says_nothing_of_the_run() -> None:
    result = run_replay(ended(logged(0, 1)), lambda line: None)
    assert result.status is ReplayStatus.NOT_REPRODUCED
    assert result.origin is None
    assert "raises" not in result.reason
