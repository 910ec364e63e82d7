"""A healthy program with everything that can make a replay differ from its run."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from forensics import ReplayCase


class Jitter(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x + tf.random.uniform(tf.shape(x), maxval=1e-3, dtype=x.dtype)


def shuffled_case() -> ReplayCase:
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            Jitter(name="jitter"),
            keras.layers.Dropout(0.2, name="noisy"),
            keras.layers.Dense(4, dtype="mixed_float16", name="half"),
            keras.layers.Dense(1, name="out"),
        ],
        name="net",
    )
    model.compile(keras.optimizers.SGD(1e-3), loss="mse", jit_compile=False)
    x = np.random.default_rng(0).random((32, 3), np.float32)
    data = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).shuffle(32).batch(8).prefetch(1)
    return ReplayCase(model=model, dataset=data)
