"""Programs for any Keras since 2.11: what Keras 2 and 3 share, plain dicts instead of a ReplayCase.

Run as a script it trains some steps and leaves a checkpoint: `old_keras.py FOLDER FORMAT`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

keras: Any = tf.keras
FAILING_STEP, ROW, TRAINED = 6, 3, 4


class Energy(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return tf.square(x)


class Logarithm(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return tf.math.log(x)


def batch(step: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(step)
    x = rng.random((8, 4)).astype(np.float32)
    if step == FAILING_STEP:
        x[ROW] = -100.0
    return x, x.sum(axis=1, keepdims=True)


def build(optimizer: Any) -> Any:
    tf.random.set_seed(3)
    model = keras.Sequential(
        [
            keras.layers.InputLayer((4,)),
            keras.layers.Dense(4, "relu", kernel_initializer="ones", name="positive"),
            Logarithm(name="logarithm"),
            keras.layers.Dense(1, kernel_initializer="ones", name="last"),
        ]
    )
    model.compile(optimizer, loss="mse", metrics=["mae"])
    return model


def fit_case() -> dict[str, Any]:
    return {"model": build(keras.optimizers.Adam(1e-3)), "batch": batch}


def legacy_case() -> dict[str, Any]:
    """Take an optimizer of the first generation, whose update is one fused op."""
    return {"model": build(keras.optimizers.legacy.Adam(1e-3)), "batch": batch}


def rate_case() -> dict[str, Any]:
    """Descend least squares at a rate of 1.2, where 0.2 is the most that converges."""
    return _least_squares(keras.optimizers.SGD(1.2))


def legacy_rate_case() -> dict[str, Any]:
    """Do the same with a schedule, which the first generation evaluates in another method."""
    schedule = keras.optimizers.schedules.ExponentialDecay(1.2, 10**6, 0.9)
    return _least_squares(keras.optimizers.legacy.SGD(schedule))


def _least_squares(optimizer: Any) -> dict[str, Any]:
    tf.random.set_seed(3)
    model = keras.Sequential([keras.layers.InputLayer((4,)), keras.layers.Dense(1, name="fit")])
    model.compile(optimizer, loss="mse")

    def gaussian(step: int) -> tuple[Any, Any]:
        x = np.random.default_rng(step).normal(0.0, 1.0, (64, 4)).astype(np.float32)
        return x, x @ np.asarray([[1.0], [-2.0], [0.5], [3.0]], np.float32)

    return {"model": model, "batch": gaussian}


def loop_case() -> dict[str, Any]:
    """Write the loop as a tf.function, with a ReplayCase of a package that is not installed."""
    from forensics import ReplayCase

    model = build(keras.optimizers.SGD(1e-3))
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def step(data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(y - model(x, training=True)))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(list(zip(gradients, model.trainable_variables)))  # noqa: B905
        return {"loss": loss}

    case: Any = ReplayCase(
        model=model, step=step, batch=batch, restore={"model": model, "optimizer": optimizer}
    )
    return case  # type: ignore[no-any-return]


def half_case() -> dict[str, Any]:
    """Lose the update of one step to float16, whose scaled gradients overflow; labels go bad then.

    The skipped update does no harm; the labels of the failing step do.
    """
    keras.mixed_precision.set_global_policy("mixed_float16")
    tf.random.set_seed(3)
    model = keras.Sequential(
        [
            keras.layers.InputLayer((4,)),
            keras.layers.Dense(4, "tanh", name="hidden"),
            keras.layers.Dense(1, dtype="float32", name="last"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), loss="mse")

    def labelled(step: int) -> tuple[Any, Any]:
        x, y = batch(step)
        x = np.abs(x) / 100.0
        if step == FAILING_STEP:
            y[ROW] = np.inf
        return x, y

    return {"model": model, "batch": labelled}


def overflow_case() -> dict[str, Any]:
    """Square in float16 what one row makes larger than the root of 65504."""
    tf.random.set_seed(3)
    model = keras.Sequential(
        [
            keras.layers.InputLayer((4,)),
            Energy(name="energy", dtype="mixed_float16"),
            keras.layers.Dense(1, name="last"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), loss="mse")

    def loud(step: int) -> tuple[Any, Any]:
        x = np.random.default_rng(step).random((8, 4)).astype(np.float32)
        y = x.sum(axis=1, keepdims=True)
        if step == FAILING_STEP:
            x[ROW] *= 400.0
        return x, y

    return {"model": model, "batch": loud}


def _save(model: Any, folder: Path, form: str) -> None:
    if form == "bundle":
        tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(
            str(folder / f"ckpt-{TRAINED}")
        )
    elif form == "weights":
        model.save_weights(folder / f"step_{TRAINED}.weights.h5")
    elif form == "model_h5":
        model.save(folder / f"step_{TRAINED}.h5")
    else:
        model.save(folder / f"step_{TRAINED}.keras")


if __name__ == "__main__":
    trained = fit_case()["model"]
    for number in range(TRAINED):
        trained.train_on_batch(*batch(number))
    for wanted in sys.argv[2:]:
        place = Path(sys.argv[1]) / wanted
        place.mkdir()
        _save(trained, place, wanted)
