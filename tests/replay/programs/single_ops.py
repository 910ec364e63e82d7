"""Steps in which one op is to blame: a kernel with a defect, an update in place, a bad batch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from forensics import ReplayCase

FAILING_STEP, ROW = 3, 4


def quantiles(step: int) -> Any:
    """Probabilities scaled to (-1, 1); float32 has a number just below 1."""
    u = np.random.default_rng(step).uniform(-0.9, 0.9, (8, 2)).astype(np.float32)
    if step == FAILING_STEP:
        u[ROW, 1] = np.nextafter(np.float32(1), np.float32(0))
    return u


def probit_case() -> ReplayCase:
    weight = tf.Variable(tf.ones((2, 1)), name="weight")
    optimizer = keras.optimizers.SGD(1e-3)

    @tf.function
    def step(u: Any) -> Any:
        with tf.GradientTape() as tape:
            normal = tf.math.erfinv(u)
            loss = tf.reduce_mean(tf.square(normal @ weight))
        optimizer.apply([tape.gradient(loss, weight)], [weight])
        return loss

    return ReplayCase(step=step, batch=quantiles, restore={"weight": weight})


def update_case() -> ReplayCase:
    total = tf.Variable(tf.fill((3,), 1e38), name="total")

    @tf.function
    def step(amount: Any) -> Any:
        total.assign_add(amount)
        return tf.reduce_mean(amount)

    return ReplayCase(
        step=step,
        batch=lambda i: np.full(3, 1e38, np.float32),
        restore={"total": total},
    )


def batch_case() -> ReplayCase:
    weight = tf.Variable(tf.ones((2, 1)), name="weight")
    optimizer = keras.optimizers.SGD(1e-3)

    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ weight))
        optimizer.apply([tape.gradient(loss, weight)], [weight])
        return loss

    def batch(index: int) -> Any:
        x = np.random.default_rng(index).normal(size=(8, 2)).astype(np.float32)
        if index == FAILING_STEP:
            x[ROW, 0] = np.nan
        return x

    return ReplayCase(step=step, batch=batch, restore={"weight": weight})
