"""A custom loop builds its model and its Adam in the first step; a gradient's square overflows."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from forensics import ReplayCase

FAILING_STEP = 5


class Net(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="net")
        self.hidden = keras.layers.Dense(4, "tanh", name="hidden")
        self.out = keras.layers.Dense(1, name="out")

    def call(self, x: Any) -> Any:
        return self.out(self.hidden(x))


def batch(step: int) -> tuple[Any, Any]:
    x = np.random.default_rng(step).random((8, 3), np.float32)
    # the loss is of order 1e25 then, finite, and so is its gradient; only its square is not
    return x, np.float32(1e25 if step == FAILING_STEP else 1.0)


def replay_case() -> ReplayCase:
    keras.utils.set_random_seed(3)
    net, optimizer = Net(), keras.optimizers.Adam(1e-3)

    @tf.function
    def step(data: Any) -> Any:
        x, factor = data
        with tf.GradientTape() as tape:
            loss = factor * tf.reduce_mean(tf.square(net(x) - 1.0))
        gradients = tape.gradient(loss, net.trainable_variables)
        optimizer.apply_gradients(zip(gradients, net.trainable_variables, strict=True))
        return {"loss": loss}

    return ReplayCase(model=net, step=step, batch=batch)
