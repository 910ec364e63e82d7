"""Writes keras<N>_*.out|.csv|.json here, with the Keras it is run with: record_keras.py N."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

from tests.data.logs.record_keras_facts import BAD, BATCH, BATCHES, EPOCHS

keras = tf.keras


class Poison(tf.keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1
        if self.batches == BAD:
            weights = self.model.get_weights()
            self.model.set_weights([np.full_like(w, np.nan) for w in weights])


def fit(
    name: str | None,
    verbose: int = 1,
    poison: bool = True,
    stop: bool = False,
    unknown: bool = False,
    epochs: int = EPOCHS,
    csv: str | None = None,
) -> Any:
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(BATCHES * BATCH, 3)).astype("float32")
    y = (x[:, :1] > 0).astype("float32")
    model = keras.Sequential([keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05), "mse", metrics=["accuracy"])
    callbacks = [Poison()] if poison else []
    if stop:
        callbacks.append(keras.callbacks.TerminateOnNaN())
    if csv:
        callbacks.append(keras.callbacks.CSVLogger(csv))
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)
    if unknown:
        data = data.filter(lambda *_: True)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        history = model.fit(
            data, validation_data=data.take(3), epochs=epochs, verbose=verbose, callbacks=callbacks
        )
        model.evaluate(data.take(3), verbose=verbose)
        model.predict(data.take(3), verbose=verbose)
    if name:
        with Path(name).open("w", newline="") as file:
            file.write(out.getvalue())
    return history


version = sys.argv[1]
fit(f"keras{version}_verbose1.out")
fit(f"keras{version}_verbose2.out", verbose=2)
fit(f"keras{version}_terminated.out", stop=True)
fit(f"keras{version}_unknown.out", unknown=True)
fit(f"keras{version}_one_epoch.out", epochs=1, poison=False)
history = fit(None, csv=f"keras{version}_logger.csv", verbose=0)
with Path(f"keras{version}_history.json").open("w") as file:
    json.dump({k: [float(v) for v in vs] for k, vs in history.history.items()}, file)
