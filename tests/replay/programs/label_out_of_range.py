"""A train step of one's own, as Keras's guides write it; the label 4 of classes 0 to 3 raises."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from forensics import ReplayCase

FAILING_STEP = 3


class Classifier(keras.Sequential):
    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


def batch(step: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(step)
    labels = rng.integers(0, 4, 8)
    if step == FAILING_STEP:
        labels[2] = 4
    return rng.random((8, 3), np.float32), labels


def replay_case() -> ReplayCase:
    keras.utils.set_random_seed(3)
    # no Input: it is built by its first batch
    model = Classifier([keras.layers.Dense(4, name="logits")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss=loss, jit_compile=False)
    return ReplayCase(model=model, batch=batch)
