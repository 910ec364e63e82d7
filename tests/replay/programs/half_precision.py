"""An eager loop in float16 without loss scaling: a sum of squares passes 65504."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from forensics import ReplayCase

FAILING_STEP, ROW = 4, 6


def batch(step: int) -> Any:
    x = np.random.default_rng(step).random((8, 16)).astype(np.float32)
    if step == FAILING_STEP:
        x[ROW] *= 400.0
    return x


def replay_case() -> ReplayCase:
    keras.utils.set_random_seed(3)
    layer = keras.layers.Dense(16, kernel_initializer="identity", dtype="mixed_float16", name="d")
    optimizer = keras.optimizers.SGD(1e-4)

    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            energy = tf.reduce_sum(tf.square(layer(x)), axis=1)
            loss = tf.reduce_mean(tf.cast(energy, tf.float32))
        gradients = tape.gradient(loss, layer.trainable_variables)
        optimizer.apply(gradients, layer.trainable_variables)
        return loss

    return ReplayCase(step=step, batch=batch, restore={"layer": layer, "optimizer": optimizer})
