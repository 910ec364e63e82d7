"""Two programs with masks: one that looks sick and is healthy, one that hides what poisons it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from forensics import ReplayCase

FAILING_STEP, ROWS = 4, [1, 6]


def tokens(step: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(step)
    x = rng.random((4, 5, 3), np.float32)
    return x, x[:, :, :1]


class CausalAttention(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        scores = tf.matmul(x, x, transpose_b=True)
        seen = tf.linalg.band_part(tf.ones((5, 5), tf.bool), -1, 0)
        scores = tf.where(seen, scores, tf.constant(-np.inf))
        return tf.matmul(tf.nn.softmax(scores), x)


def healthy_case() -> ReplayCase:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((5, 3)), CausalAttention(name="attention"), keras.layers.Dense(1, name="out")]
    )
    model.compile("adam", loss="mse")
    return ReplayCase(model=model, batch=tokens)


def numbers(step: int) -> Any:
    x = np.random.default_rng(step).random((8, 2), np.float32) + 0.1
    if step == FAILING_STEP:
        x[ROWS] = 0.0
    return x


def poisoned_case() -> ReplayCase:
    keras.utils.set_random_seed(3)
    weight = tf.Variable(tf.ones((2, 1)), name="scale")
    optimizer = keras.optimizers.SGD(1e-3)

    @tf.function
    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            amount = x @ weight
            logs = tf.where(amount > 0, tf.math.log(amount), 0.0)
            loss = tf.reduce_mean(tf.square(logs))
        optimizer.apply([tape.gradient(loss, weight)], [weight])
        return loss

    return ReplayCase(step=step, batch=numbers, restore={"weight": weight})
