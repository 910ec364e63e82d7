"""The recorder leaves training as it was, and leaves batches that can be read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tf


def _train(recorder: Any | None, steps_per_execution: int) -> list[Any]:
    import keras

    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "tanh", name="fc")])
    model.compile("adam", loss="mse", steps_per_execution=steps_per_execution)
    x = np.random.default_rng(0).normal(size=(80, 4)).astype("float32")
    y = np.random.default_rng(1).normal(size=(80, 3)).astype("float32")
    callbacks = [recorder] if recorder is not None else []
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=callbacks)
    weights: list[Any] = model.get_weights()
    return weights


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_training_is_the_same_and_the_ring_holds_the_last_batches(
    tmp_path: Path, steps_per_execution: int
) -> None:
    from forensics.recorder import FlightRecorder

    recorder = FlightRecorder(tmp_path, keep=5, every=10)
    recorded = _train(recorder, steps_per_execution)
    plain = _train(None, steps_per_execution)
    for a, b in zip(recorded, plain, strict=True):
        np.testing.assert_array_equal(a, b)
    files = sorted((tmp_path / "flight").glob("batch-*.npz"))
    assert [int(f.stem.split("-")[1]) for f in files] == [15, 16, 17, 18, 19]
    x = np.random.default_rng(0).normal(size=(80, 4)).astype("float32")
    with np.load(files[-1], allow_pickle=False) as last:
        np.testing.assert_array_equal(last["x"], x[72:80])
        assert set(last) == {"x", "y"}
    assert len(list((tmp_path / "flight").glob("step-*.weights.h5"))) == 2


def test_nested_batches_are_named_by_their_keys(tmp_path: Path) -> None:
    from forensics.recorder import FlightRecorder

    recorder = FlightRecorder(tmp_path, keep=2)
    for _ in range(3):
        recorder.record(({"a": np.ones(2), "b": np.zeros(2)}, np.ones(2), None))
    files = sorted((tmp_path / "flight").glob("batch-*.npz"))
    assert [f.name for f in files] == ["batch-000000001.npz", "batch-000000002.npz"]
    with np.load(files[0], allow_pickle=False) as batch:
        assert set(batch) == {"x/a", "x/b", "y"}
