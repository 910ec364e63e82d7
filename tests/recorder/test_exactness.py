"""A recorded state and the batches since give the losses of the run, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recorder.recording import data, files, train

pytestmark = pytest.mark.tf


@pytest.fixture
def float32_again() -> Iterator[None]:
    """Take back the policy that a recording sets in the process that replays it."""
    import keras

    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    "settings",
    [
        {"policy": "mixed_float16", "steps_per_execution": 4},
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"jit_compile": True}, marks=pytest.mark.slow),
        pytest.param({"run_eagerly": True}, marks=pytest.mark.slow),
        pytest.param({"policy": "mixed_bfloat16"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_recorded_step_can_be_run_again(
    tmp_path: Path, float32_again: None, settings: dict[str, Any]
) -> None:
    from forensics import read
    from forensics.recorder import FlightRecorder
    from forensics.replay.worker.case.recorded import Recording
    from forensics.replay.worker.case.restore import build, restore
    from forensics.replay.worker.stepping.state import State
    from forensics.replay.worker.stepping.stepper import Stepper

    weight = data()[2]
    weight[66] = np.nan
    fit = {"sample_weight": weight, "shuffle": False}
    train(FlightRecorder(tmp_path, keep=4, every=6), epochs=1, fit=fit, **settings)
    run = read(tmp_path)
    losses = next(s for s in run.series if s.tag == "train/loss")
    logged = dict(zip(losses.steps.tolist(), losses.values.tolist(), strict=True))
    recording = Recording(
        str(tmp_path / "flight"), [(b.step, str(tmp_path / b.path)) for b in run.recordings],
        [(step, loss) for step, loss in logged.items() if np.isfinite(loss)],
    )  # fmt: skip
    case = recording.case()
    state = State(case.restore)
    stepper = Stepper(case, state)
    built = build(case, state, stepper, stepper.batch(0))
    assert files(tmp_path, "state") == [0, 6], "before the optimizer was built, and after it"
    for first in (0, 6):
        state.load(built)
        path = tmp_path / f"flight/state-{first:09d}.npz"
        assert restore(case, state, str(path), "recorded_state", first) == []
        replayed = {step: stepper.own(stepper.batch(step)).loss for step in range(first, 9)}
        assert np.isnan(replayed.pop(8) or 0.0) and np.isnan(logged[8])
        exact = {step: float(loss or 0.0) for step, loss in replayed.items()}
        (said,) = recording.fidelity(exact)
        assert f"exact: steps {first} to 7 give the losses that the run logged" in said
    assert "not exact: step 7" in recording.fidelity({7: 0.5})[0]
