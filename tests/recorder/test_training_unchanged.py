"""Training is the same, bit by bit, with and without a recorder; and it is left as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recorder.recording import data, network, train

pytestmark = pytest.mark.tf


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"steps_per_execution": 4},
        {"policy": "mixed_float16"},
        {"run_eagerly": True},
        {"fit": {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}}},
        pytest.param({"optimizer": "sgd", "steps_per_execution": 4}, marks=pytest.mark.slow),
        pytest.param({"jit_compile": True}, marks=pytest.mark.slow),
        pytest.param({"jit_compile": True, "policy": "mixed_float16"}, marks=pytest.mark.slow),
        pytest.param({"steps_per_execution": 4, "policy": "mixed_float16"}, marks=pytest.mark.slow),
        pytest.param({"steps_per_execution": 4, "jit_compile": True}, marks=pytest.mark.slow),
        pytest.param({"steps_per_execution": 4, "run_eagerly": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_weights_slots_seeds_and_metrics_are_the_same(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    from forensics.recorder import FlightRecorder

    recorded, history = train(FlightRecorder(tmp_path, keep=5, every=7), **settings)
    plain, expected = train(None, **settings)
    if settings.get("jit_compile"):
        # XLA fuses a step that also gives its gradient norm in another way: the last bit may differ
        near(recorded, plain)
        np.testing.assert_allclose(list(history.values()), list(expected.values()), rtol=1e-4)
    else:
        assert recorded == plain
        assert history == expected


def near(one: list[bytes], two: list[bytes]) -> None:
    """Equal within rounding; seeds and counters, which are whole numbers, bit for bit."""
    assert len(one) == len(two)
    for mine, theirs in zip(one, two, strict=True):
        if mine != theirs:
            got, wanted = np.frombuffer(mine, np.float32), np.frombuffer(theirs, np.float32)
            np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-6)


def test_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    from forensics.recorder import FlightRecorder

    x, y, _ = data()
    model = network()
    model.fit(x, y, batch_size=28, verbose=0)
    function, before = model.train_function, dict(vars(model.optimizer))
    saved = len(model.optimizer.variables)
    recorder = FlightRecorder(tmp_path)
    model.fit(x, y, batch_size=28, verbose=0, callbacks=[recorder])
    assert model.train_function is function
    assert vars(model.optimizer).keys() == before.keys()
    assert len(model.optimizer.variables) == saved
    assert recorder.step == 6, "it counts on from the three steps that were made before"


def test_a_run_that_was_cut_off_does_not_keep_its_hooks(tmp_path: Path) -> None:
    import keras

    from forensics.recorder import FlightRecorder

    x, y, weight = data()
    weight[40] = np.nan
    model = network()
    callbacks = [
        keras.callbacks.TerminateOnNaN(raise_error=True),
        FlightRecorder(tmp_path / "one"),
    ]
    with pytest.raises(RuntimeError):
        model.fit(x, y, 28, verbose=0, sample_weight=weight, callbacks=callbacks)
    second = FlightRecorder(tmp_path / "two")
    model.fit(x, y, batch_size=28, verbose=0, callbacks=[second])
    assert "apply" not in vars(model.optimizer)
    assert "scale_loss" not in vars(model.optimizer)
