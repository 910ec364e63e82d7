"""A custom loop whose loss takes the logarithm of what a ReLU made 0. From a tensor bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from forensics import ReplayCase

# only possible as long as nothing has started the runtime
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

FAILING_STEP, ROW = 12, 5


def batch(step: int) -> dict[str, Any]:
    rng = np.random.default_rng(step)
    x = rng.random((8, 3)).astype(np.float32)
    if step == FAILING_STEP:
        x[ROW] = -100.0
    return {"x": x, "y": x.sum(axis=1, keepdims=True)}


def build() -> tuple[Any, Any, Any]:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(1, "relu", kernel_initializer="ones", name="rate")]
    )
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def step(data: dict[str, Any]) -> Any:
        with tf.GradientTape() as tape:
            rate = model(data["x"], training=True)
            loss = tf.reduce_mean(rate - data["y"] * tf.math.log(rate))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return model, optimizer, step


def replay_case() -> ReplayCase:
    model, optimizer, step = build()
    return ReplayCase(
        model=model, step=step, batch=batch, restore={"model": model, "optimizer": optimizer}
    )


if __name__ == "__main__":
    model, optimizer, step = build()
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
    for number in range(5):
        step(batch(number))
    checkpoint.write(str(Path(sys.argv[1]) / "ckpt-5"))
