"""A layer takes a root of squares: finite at 0, but not its slope. From `.weights.h5`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from forensics import ReplayCase

FAILING_STEP, ROWS = 6, [2, 7]


class Length(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        squared = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)
        return tf.sqrt(squared)


def batch(step: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(step)
    x = rng.random((10, 4))  # double, as NumPy makes it
    if step == FAILING_STEP:
        x[ROWS] = 0.0
    return x, rng.random((10, 1))


def build() -> Any:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(4, use_bias=False, name="first"),
            Length(name="length"),
            keras.layers.Dense(1, name="last"),
        ]
    )
    model.compile(keras.optimizers.RMSprop(1e-3), loss="mse")
    return model


def replay_case() -> ReplayCase:
    return ReplayCase(model=build(), batch=batch)


if __name__ == "__main__":
    model = build()
    for number in range(4):
        model.train_on_batch(*batch(number))
    model.save_weights(Path(sys.argv[1]) / "step_000004.weights.h5")
