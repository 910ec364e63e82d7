"""Record the files that Keras 2 writes (run once with TensorFlow 2.15.1 / Keras 2.15.0)."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(1)
    layers = keras.layers
    inner = keras.Sequential(
        [layers.Dense(3, activation="relu"), layers.Dropout(0.5)], name="inner"
    )
    given = keras.Input((4, 2), name="given")
    x = layers.Bidirectional(layers.GRU(2), name="both")(given)
    x = layers.BatchNormalization(name="norm")(x)
    model = keras.Model(given, layers.Dense(2, name="out")(inner(x)), name="mixture")
    source = np.random.default_rng(7)
    x, y = source.normal(size=(8, 4, 2)), source.normal(size=(8, 2))
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model.compile(keras.optimizers.RMSprop(schedule, clipnorm=1.0), "mse", metrics=["mae"])
    model.fit(x, y, batch_size=4, verbose=0)
    model.save(folder / "k2_model.h5")
    model.save_weights(folder / "k2_named_weights.h5")
    model.save_weights(folder / "k2.weights.h5")
    model.save(folder / "k2.keras")
    model.compile(keras.optimizers.legacy.Adam(0.01), "mse")
    model.fit(x, y, batch_size=4, verbose=0)
    model.save(folder / "k2_old_optimizer.h5")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
