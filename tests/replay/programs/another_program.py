"""A model that fits no checkpoint of a wider one, and whose loss is NaN at a step of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from forensics import ReplayCase

FAILING_STEP = 3


def build(units: int) -> Any:
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(units, name="hidden"), keras.layers.Dense(1)]
    )
    model.compile("sgd", loss="mse")
    return model


def batch(step: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(step)
    y = rng.random((8, 1), np.float32)
    return rng.random((8, 4), np.float32), y * np.nan if step == FAILING_STEP else y


def replay_case() -> ReplayCase:
    return ReplayCase(model=build(3), batch=batch)


def finite_case() -> ReplayCase:
    def twelve(step: int) -> tuple[Any, Any]:
        if step >= 12:
            raise IndexError("12 batches")
        return batch(0)

    return ReplayCase(model=build(5), batch=twelve)


def wide_case() -> ReplayCase:
    return ReplayCase(model=build(3), batch=lambda i: (np.zeros((8, 6), "f4"), batch(i)[1]))


def own_step_case() -> ReplayCase:
    """A model that cannot be called: only its own training step knows what to do."""

    class Pair(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = build(3)

        def train_step(self, data: Any) -> dict[str, Any]:
            import tensorflow as tf

            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self.inner(x) - y))
            weights = self.inner.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    pair = Pair()
    pair.compile("sgd")
    return ReplayCase(model=pair, batch=batch)


if __name__ == "__main__":
    build(5).save_weights(Path(sys.argv[1]) / "step_0012.weights.h5")
