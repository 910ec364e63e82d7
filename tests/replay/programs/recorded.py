"""Shuffled data with one bad row, a recorder, a model with dropout; with `own`, a layer of its own.

Where the bad row comes is known to nobody but the recording.
"""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np

import forensics

ROWS, BAD = 160, 77


class Doubled(keras.layers.Layer):
    """A layer that no library knows."""

    def call(self, x: Any) -> Any:
        return x * 2.0


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(ROWS, 4)).astype(np.float32)
    # exp(90) is beyond float32, and no other row comes near
    x[BAD] = [90.0, 0.0, 0.0, 0.0]
    return x, rng.normal(size=(ROWS, 1)).astype(np.float32)


def build(own: bool = False) -> Any:
    keras.utils.set_random_seed(4)
    layers = [
        keras.Input((4,)),
        keras.layers.Activation("exponential", name="exponential"),
        keras.layers.Dense(3, "tanh", name="fc"),
        keras.layers.Dropout(0.4, name="drop"),
        *([Doubled(name="doubled")] if own else []),
        keras.layers.Dense(1, name="out"),
    ]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(1e-2), loss="mse")
    return model


def own_case() -> Any:
    """The program does not know in which order the data came: it hands over the first rows."""
    x, y = data()
    model = build(own=True)
    return {"model": model, "batch": lambda i: (x[:8], y[:8])}


def unordered_case() -> Any:
    x, y = data()
    return {"model": build(), "batch": lambda i: (x[:8], y[:8])}


if __name__ == "__main__":
    x, y = data()
    model = build(own="own" in sys.argv)
    callbacks = [
        forensics.FlightRecorder(sys.argv[1], keep=4, every=6),
        keras.callbacks.TerminateOnNaN(raise_error="own" in sys.argv),
    ]
    model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=callbacks)
