"""Visits per hour of a shop, predicted from the weather: a run that ends in NaN, and is recorded.

The mistake: the Poisson loss takes the logarithm of a rate, and the last layer is linear. All goes
well until the shuffled data brings a day on which the network predicts a negative rate.

    python examples/recorded_run/train.py LOGDIR
    forensics analyze LOGDIR --trust

No entry point and no checkpoint is needed: the recording holds the model, a state from before the
failure and the batches since, in the order in which the shuffled data came.
"""

from __future__ import annotations

import sys

import keras
import numpy as np

import forensics


def visits(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Weather of some hours (standardised) and the visits counted in them."""
    rng = np.random.default_rng(7)
    weather = rng.normal(size=(rows, 6)).astype(np.float32)
    weather[rng.integers(0, rows, 3)] *= 6.0  # storms
    rate = 6.0 + weather @ np.array([1.2, -0.8, 0.5, 0.0, 0.3, -0.4], np.float32)
    return weather, rng.poisson(np.maximum(rate, 0.1)).astype(np.float32)


def build() -> keras.Model:
    """Return the network; `bias_initializer` starts it near the mean count."""
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(32, "relu", name="features"),
            keras.layers.Dropout(0.1, name="dropout"),
            keras.layers.Dense(1, bias_initializer=keras.initializers.Constant(6.0), name="rate"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), loss="poisson")
    return model


def train(logdir: str) -> None:
    """Fit until the loss is NaN."""
    keras.utils.set_random_seed(1)
    weather, count = visits(2000)
    model = build()
    model.fit(
        weather, count, batch_size=20, epochs=5, verbose=0,
        callbacks=[
            forensics.FlightRecorder(logdir, keep=8, every=20),
            keras.callbacks.TerminateOnNaN(raise_error=True),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    train(sys.argv[1])
