"""What the recorder logs is what happened, and the reader knows what it means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recorder.recording import data, network

pytestmark = pytest.mark.tf


def series(logdir: Path) -> dict[tuple[str, str | None], Any]:
    """Values by quantity and layer."""
    from forensics import read

    return {(str(s.quantity), s.layer): s for s in read(logdir).series}


def test_loss_norms_and_rate_of_every_step(tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    from forensics.recorder import FlightRecorder

    x, y, _ = data()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(4, "tanh", name="hidden"),
            keras.layers.Dense(3, name="logits"),
        ]
    )
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(schedule), crossentropy)
    start = [v.numpy() for v in model.trainable_variables]
    model.fit(
        x, y, batch_size=28, shuffle=False, verbose=0,
        callbacks=[FlightRecorder(tmp_path)],
    )  # fmt: skip
    # the same three steps by hand
    model.set_weights(start)
    found = series(tmp_path)
    for step in range(3):
        rows = slice(28 * step, 28 * step + 28)
        with tf.GradientTape() as tape:
            loss = crossentropy(y[rows], model(x[rows], training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        norms = [float(np.linalg.norm(np.asarray(g, np.float64))) for g in gradients]
        logged = {key: s.values[step] for key, s in found.items()}
        assert logged["train_loss", None] == pytest.approx(float(loss), rel=1e-5)
        assert logged["gradient_norm", None] == pytest.approx(np.linalg.norm(norms), rel=1e-5)
        assert logged["learning_rate", None] == pytest.approx(0.1 * 0.5**step, rel=1e-6)
        hidden = next(v for (q, layer), v in logged.items() if (layer or "").endswith("hidden"))
        assert hidden == pytest.approx(np.linalg.norm(norms[:2]), rel=1e-5)
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            variable.assign_sub(0.1 * 0.5**step * gradient)
    assert found["train_loss", None].steps.tolist() == [0, 1, 2]
    assert {q for q, layer in found if layer is not None} == {"gradient_norm"}


def test_gradients_under_loss_scaling_are_the_unscaled_ones(tmp_path: Path) -> None:
    import keras

    from forensics.recorder import FlightRecorder

    x, y, _ = data()
    norms = {}
    for scale in (1.0, 2.0**40):
        logdir = tmp_path / str(scale)
        model = network(
            optimizer=keras.optimizers.LossScaleOptimizer(
                keras.optimizers.SGD(0.1), initial_scale=scale
            )
        )
        model.fit(x, y, batch_size=28, shuffle=False, verbose=0, callbacks=[FlightRecorder(logdir)])
        found = series(logdir)
        norms[scale] = found["gradient_norm", None].values
        np.testing.assert_array_equal(found["loss_scale", None].values[0], scale)
        assert found["learning_rate", None].values[0] == pytest.approx(0.1)
    np.testing.assert_allclose(norms[1.0], norms[2.0**40], rtol=1e-4)


def test_norms_beyond_the_range_of_their_squares_and_repeated_rows() -> None:
    import tensorflow as tf

    from forensics.recorder.readings import norms_of

    large = tf.constant([3e25, 4e25])
    rows = tf.IndexedSlices(tf.constant([[3.0], [3.0], [8.0]]), tf.constant([1, 1, 5]), [9, 1])
    bad = tf.constant([1.0, float("nan")])
    np.testing.assert_allclose(norms_of([large, None, rows]), [5e25, 0.0, 10.0], rtol=1e-6)
    np.testing.assert_allclose(norms_of([rows], compiled=True), [10.0])
    norm, other = np.asarray(norms_of([bad, tf.constant([2.0], tf.float16)]))
    assert np.isnan(norm) and other == 2.0


def test_a_train_step_of_its_own_is_said_to_show_only_the_mean_loss(tmp_path: Path) -> None:
    import json

    import keras
    import tensorflow as tf

    from forensics.recorder import FlightRecorder

    class Own(keras.Model):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(1, name="dense")
            self.mean = keras.metrics.Mean(name="loss")

        def call(self, x: Any) -> Any:
            return self.dense(x)

        def train_step(self, batch: Any) -> dict[str, Any]:
            x, y = batch
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x) - y) ** 2)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            self.mean.update_state(loss)
            return {"loss": self.mean.result()}

    model = Own()
    model.compile("sgd", loss="mse")
    x = np.ones((12, 2), np.float32)
    model.fit(x, x[:, :1], batch_size=4, verbose=0, callbacks=[FlightRecorder(tmp_path)])
    found = series(tmp_path)
    assert len(found["train_loss", None]) == len(found["gradient_norm", None]) == 3
    manifest = json.loads((tmp_path / "flight/manifest.json").read_text())
    assert any("loss of each step" in missing for missing in manifest["not_recorded"])
