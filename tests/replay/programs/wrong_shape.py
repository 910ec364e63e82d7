"""A batch of the wrong shape, and a guard of the program's own against a non-finite loss."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from forensics import ReplayCase

FAILING_STEP = 3


def batch(step: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(step)
    columns = 5 if step == FAILING_STEP else 4
    return rng.random((8, columns), np.float32), rng.random((8, 1), np.float32)


def wrong_shape_case() -> ReplayCase:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="out")])
    model.compile("sgd", loss="mse")
    return ReplayCase(model=model, batch=batch)


def guarded_case() -> ReplayCase:
    weight = tf.Variable([1.0])

    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(weight / x)
        if not np.isfinite(loss.numpy()):
            raise RuntimeError("the loss is not finite")
        weight.assign_sub(1e-3 * tape.gradient(loss, weight))
        return loss

    return ReplayCase(
        step=step,
        batch=lambda i: np.asarray([1.0, i - FAILING_STEP], np.float32),
        restore={"w": weight},
    )
