"""Two inputs by name, one row of one of them is NaN. From a `.keras` file, batches of a dataset."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

BATCHES, FAILING_STEP, ROW = 5, 8, 3


def dataset() -> Any:
    rng = np.random.default_rng(0)
    left, right = rng.random((2, BATCHES * 6, 2)).astype(np.float32)
    right[(FAILING_STEP % BATCHES) * 6 + ROW, 1] = np.nan
    x = {"left": left, "right": right}
    return tf.data.Dataset.from_tensor_slices((x, left.sum(1, keepdims=True))).batch(6)


def build() -> Any:
    keras.utils.set_random_seed(3)
    left, right = (keras.Input((2,), name=name) for name in ("left", "right"))
    hidden = keras.layers.Dense(4, "tanh", name="hidden")(
        keras.layers.Concatenate(name="both")([left, right])
    )
    model = keras.Model({"left": left, "right": right}, keras.layers.Dense(1, name="out")(hidden))
    model.compile("adam", loss="mse", metrics=["mae"])
    return model


def replay_case() -> dict[str, Any]:
    # a plain dict will do; the fourth batch of the second epoch is step 8
    return {"model": build(), "dataset": dataset()}


if __name__ == "__main__":
    model = build()
    for x, y in dataset().take(3):
        model.train_on_batch(x, y)
    model.save(Path(sys.argv[1]) / "step_000004.keras")
