"""Max pooling makes -3.4e38 of NaN: the op after it overflows, the one before it is to blame."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from forensics import ReplayCase

FAILING_STEP, ROW = 4, 2


class Contrast(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        spread = tf.math.reduce_std(x, axis=(1, 2), keepdims=True)
        return (x - tf.reduce_mean(x, axis=(1, 2), keepdims=True)) / spread


def batch(step: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(step)
    x = rng.random((5, 4, 4, 1), np.float32)
    if step == FAILING_STEP:
        x[ROW] = 0.5
    return x, rng.random((5, 1), np.float32)


def replay_case() -> ReplayCase:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            Contrast(name="contrast"),
            keras.layers.MaxPooling2D(2, name="pool"),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(4, name="hidden"),
            keras.layers.Dense(1, name="out"),
        ]
    )
    model.compile(keras.optimizers.SGD(1e-3), loss="mse")
    return ReplayCase(model=model, batch=batch)
