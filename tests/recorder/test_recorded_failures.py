"""A failure stays recorded, in `fit` and in loops of one's own; what is missing is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recorder.recording import data, files, network

pytestmark = pytest.mark.tf


def manifest(logdir: Path) -> dict[str, Any]:
    return dict(json.loads((logdir / "flight/manifest.json").read_text()))


def test_the_ring_stops_at_the_failure_although_training_goes_on(tmp_path: Path) -> None:
    from forensics.recorder import FlightRecorder

    x, y, weight = data()
    weight[30] = np.nan
    model = network()
    model.fit(
        x, y, batch_size=4, epochs=3, sample_weight=weight, shuffle=False, verbose=0,
        callbacks=[FlightRecorder(tmp_path, keep=3, every=5)],
    )  # fmt: skip
    assert manifest(tmp_path)["frozen"] == {"step": 7, "why": "loss of step 7 is nan"}
    assert files(tmp_path, "batch") == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert files(tmp_path, "state") == [0, 5]
    with np.load(tmp_path / "flight/batch-000000007.npz") as batch:
        assert set(batch) == {"x", "y", "sample_weight", "structure"}
        assert np.isnan(batch["sample_weight"]).tolist() == [False, False, True, False]
        np.testing.assert_array_equal(batch["x"], x[28:32])


def test_a_loop_of_its_own_with_two_models(tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    from forensics import read
    from forensics.recorder import FlightRecorder

    keras.utils.set_random_seed(1)
    one = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="one")])
    two = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="two")])
    optimizer, slow = keras.optimizers.Adam(0.1), keras.optimizers.SGD(0.01)
    counter = tf.Variable(0, dtype=tf.int64, name="counter")
    recorder = FlightRecorder(tmp_path, keep=2, every=3)

    @tf.function
    def step(batch: Any) -> Any:
        counter.assign_add(1)
        with tf.GradientTape(persistent=True) as tape:
            loss = tf.reduce_mean(two(one(batch["x"])) ** 2)
        ours, theirs = one.trainable_variables, two.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, ours), ours, strict=True))
        slow.apply(tape.gradient(loss, theirs), theirs)
        return loss

    watched = {"model": one, "two": two, "counter": counter, "slow": slow}
    with recorder.watch(optimizer=optimizer, **watched):
        for number in range(7):
            batch = {"x": tf.fill((3, 2), float(number + 1))}
            recorder.record(batch)
            recorder.after(loss=step(batch))
    assert "apply" not in vars(optimizer) and "apply" not in vars(slow)
    assert files(tmp_path, "batch") == [3, 4, 5, 6]
    run = read(tmp_path)
    lengths = {s.tag: len(s) for s in run.series}
    assert lengths["train/loss"] == 7
    assert lengths["train/optimizer/gradient_norm"] == lengths["train/slow/gradient_norm"] == 7
    state = next(c for c in run.checkpoint_stats if c.step == 3)
    assert {t.name: t.max for t in state.tensors}["counter:0"] == 3.0
    assert any(t.name.endswith("two/kernel") for t in state.tensors)
    assert manifest(tmp_path)["model_reason"].startswith("the model is not compiled")


def test_gradients_that_no_optimizer_applies_are_handed_over(tmp_path: Path) -> None:
    import tensorflow as tf

    from forensics import read
    from forensics.recorder import FlightRecorder

    weight = tf.Variable([1.0, 1.0], name="weight")
    with FlightRecorder(tmp_path).watch(weight=weight) as recorder:
        for _ in range(2):
            recorder.record({"x": 1})
            gradient = tf.constant([3.0, 4.0])
            weight.assign_sub(0.1 * gradient)
            recorder.after(loss=2.0, gradients=[gradient], variables=[weight])
    values = {s.tag: s.values.tolist() for s in read(tmp_path).series}
    assert values["train/gradient_norm"] == [5.0, 5.0]
    assert values["train/loss"] == [2.0, 2.0]


def test_a_part_that_cannot_be_recorded_does_not_stop_training(tmp_path: Path) -> None:
    from forensics.recorder import FlightRecorder

    recorder = FlightRecorder(tmp_path)
    recorder.record({"x": np.ones(2), "path": Path("a")})
    recorder.after(loss=1.0)
    assert files(tmp_path, "batch") == []
    assert "the batches: path" in manifest(tmp_path)["not_recorded"][0]


def test_a_full_disk_does_not_stop_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from forensics.recorder import FlightRecorder
    from forensics.recorder import files as written

    plain = written.write_npz

    def full(path: Path, arrays: Any) -> None:
        if "batch-000000003" in path.name:
            raise OSError(errno.ENOSPC, "no space left on device")
        plain(path, arrays)

    monkeypatch.setattr("forensics.recorder.flight_recorder.write_npz", full)
    x, y, _ = data()
    model = network()
    with pytest.warns(UserWarning, match=r"records no more: .*no space left"):
        history = model.fit(
            x, y, batch_size=14, verbose=0, callbacks=[FlightRecorder(tmp_path)]
        ).history
    assert np.isfinite(history["loss"]).all()
    assert files(tmp_path, "batch") == [0, 1, 2]


def test_two_replicas_are_refused_in_words(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = """
import sys, numpy as np, tensorflow as tf, keras
from forensics.recorder import FlightRecorder
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
x = np.ones((16, 2), np.float32)
model.fit(x, x[:, :1], batch_size=4, verbose=0, callbacks=[FlightRecorder(sys.argv[1])])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "FlightRecorder does not record batches" in done.stderr
    assert files(tmp_path, "batch") == []
    assert "several replicas" in manifest(tmp_path)["not_recorded"][0]
