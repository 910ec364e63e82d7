"""Steps that fail in one way of executing them only: as a graph, or under XLA."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from forensics import ReplayCase

FAILING_STEP, ROW = 3, 2


def numbers(step: int) -> Any:
    x = np.random.default_rng(step).random((6, 3), np.float32) + 0.5
    if step == FAILING_STEP:
        x[ROW] = 0.0
    return x


@tf.function
def summed_logs(x: Any) -> Any:
    total = tf.zeros_like(x)
    for count in tf.range(4):
        total += tf.math.log(x + 1.0 - tf.cast(count, tf.float32) / 3.0)
    return total


class Guarded(keras.layers.Layer):
    """Guards a logarithm, and forgets to in graph mode; loops where it does."""

    def call(self, x: Any) -> Any:
        if tf.executing_eagerly():
            return tf.math.log(x + 1.0)
        return summed_logs(x)


def graph_case() -> ReplayCase:
    """A compiled model whose layer fails as a graph: a loop within it, in its last iteration."""
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            Guarded(name="guarded"),
            keras.layers.Dense(1, name="out"),
        ],
        name="net",
    )
    model.compile(keras.optimizers.SGD(1e-3), loss="mse", jit_compile=False)
    targets = np.zeros((6, 1), np.float32)

    def batch(step: int) -> Any:
        x = np.random.default_rng(step).random((6, 3)).astype(np.float32) + 1.0
        if step == FAILING_STEP:
            x[ROW] = 0.0
        return x, targets

    return ReplayCase(model=model, batch=batch)


def random_graph_case() -> ReplayCase:
    """A custom loop with an unseeded random op in its graph, and what fails only there."""
    weight = tf.Variable(tf.ones((3, 1)), name="scale")

    @tf.function
    def noise(shape: Any) -> Any:
        return tf.random.normal(shape, stddev=1e-3)

    @tf.function
    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            amount = (x + tf.abs(noise(tf.shape(x)))) @ weight
            if not tf.executing_eagerly():
                amount = x @ weight
            loss = tf.reduce_mean(tf.math.log(amount))
        weight.assign_sub(1e-4 * tape.gradient(loss, weight))
        return loss

    return ReplayCase(step=step, batch=numbers, restore={"weight": weight})


def compiled_case() -> ReplayCase:
    """The derivative of a root at 0 with an incoming gradient of 0: 0 on a CPU, NaN under XLA."""
    keras.utils.set_random_seed(5)

    def rooted(y_true: Any, y_pred: Any) -> Any:
        root = tf.sqrt(y_pred)
        return tf.reduce_mean(tf.where(y_true > 0.0, root, 0.0))

    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="out"),
        ],
        name="net",
    )
    model.compile(keras.optimizers.SGD(1e-3), loss=rooted, jit_compile=True)

    def batch(step: int) -> Any:
        x = numbers(step)
        return x, (x.sum(axis=1, keepdims=True) > 0).astype(np.float32)

    return ReplayCase(model=model, batch=batch)


def forward_only(value: Any, rows: Any, jit: bool) -> ReplayCase:
    """A step without a gradient round a function that only its rewriting makes overflow."""
    weight = tf.Variable(tf.ones((3, 1)), name="scale")

    @tf.function(jit_compile=jit)
    def step(data: Any) -> Any:
        loss = tf.reduce_mean(value(data @ weight))
        weight.assign_add(0.0 * weight)
        return loss

    return ReplayCase(step=step, batch=rows, restore={"weight": weight})


def fused_case() -> ReplayCase:
    """x / y / y, which XLA turns into x / (y * y): y * y underflows."""

    def twice_divided(amount: Any) -> Any:
        return 1e-30 / amount / amount

    def rows(step: int) -> Any:
        return np.full((6, 3), 1e-25 if step == FAILING_STEP else 1.0, np.float32)

    return forward_only(twice_divided, rows, True)


def rewritten_case() -> ReplayCase:
    """x * 1e30 * 1e30, which Grappler turns into x * (1e30 * 1e30): an infinity."""

    def scaled(amount: Any) -> Any:
        return 1e-35 / amount * 1e30 * 1e30

    return forward_only(scaled, numbers, False)
