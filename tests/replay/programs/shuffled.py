"""Training on data that is shuffled anew in every epoch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from forensics import ReplayCase

ROWS, BATCH = 160, 16


def rates(bad: bool) -> tuple[Any, Any]:
    x = np.random.default_rng(7).random((ROWS, 3)).astype(np.float32)
    if bad:
        x[101] = -100.0
    return x, np.abs(x.sum(axis=1, keepdims=True))


def dataset(x: Any, y: Any) -> Any:
    return tf.data.Dataset.from_tensor_slices((x, y)).shuffle(ROWS).batch(BATCH)


def poisson(y: Any, rate: Any) -> Any:
    return tf.reduce_mean(rate - y * tf.math.log(rate), axis=-1)


def rate_model(bad: bool) -> ReplayCase:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(1, "relu", kernel_initializer="ones", name="rate")]
    )
    model.compile(keras.optimizers.SGD(1e-3), loss=poisson)
    return ReplayCase(model=model, dataset=dataset(*rates(bad)))


def one_bad_row_case() -> ReplayCase:
    return rate_model(bad=True)


def healthy_case() -> ReplayCase:
    return rate_model(bad=False)


def high_rate_case() -> ReplayCase:
    """Blows up by repeated updates: every batch by itself is fine."""
    x = np.random.default_rng(7).random((ROWS, 3)).astype(np.float32)
    weight = tf.Variable(tf.zeros((3, 1)), name="weight")

    @tf.function
    def step(data: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(data[0] @ weight - data[1]))
        weight.assign_sub(4.0 * tape.gradient(loss, weight))
        return loss

    return ReplayCase(
        step=step, dataset=dataset(x, x.sum(axis=1, keepdims=True)), restore={"weight": weight}
    )


def outlier_case() -> ReplayCase:
    """Eager, an optimizer's own loop, batches by a function; row 2 of batch 5 is far off."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="out")])
    optimizer = keras.optimizers.Adam(1e-3)

    def batch(step: int) -> Any:
        x = np.random.default_rng(step).random((8, 3), np.float32)
        if step == 5:
            x[2] = 500.0
        return x

    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(model(x, training=True) - 1.0))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return {"loss": loss}

    return ReplayCase(
        model=model, step=step, batch=batch, restore={"model": model, "optimizer": optimizer}
    )
