"""Small trainings for the tests of the recorder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

ROWS, SIZE = 84, 8
"""The last batch of an epoch is smaller than the others."""


def data() -> tuple[Any, Any, Any]:
    """Images, labels and sample weights."""
    rng = np.random.default_rng(0)
    return (
        rng.normal(size=(ROWS, 6, 6, 1)).astype(np.float32),
        rng.integers(0, 3, ROWS),
        rng.random(ROWS).astype(np.float32),
    )


def network(**compiled: Any) -> Any:
    """Convolution, batch normalisation, dropout: everything that keeps a state of its own."""
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.Dropout(0.3, name="drop"),
            layers.Flatten(name="flat"),
            layers.Dense(3, dtype="float32", name="logits"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    compiled.setdefault("optimizer", "adam")
    model.compile(loss=loss, **compiled)
    return model


def train(
    recorder: Any | None, policy: str = "float32", epochs: int = 2, fit: Any = None, **compiled: Any
) -> tuple[list[bytes], Any]:
    """Fit; return every variable of the training, bit by bit, and the history."""
    import keras

    keras.config.set_dtype_policy(policy)
    try:
        model = network(**compiled)
    finally:
        keras.config.set_dtype_policy("float32")
    x, y, weight = data()
    fit = {"sample_weight": weight} if fit is None else fit
    callbacks = [recorder] if recorder is not None else []
    history = model.fit(
        x, y, batch_size=SIZE, epochs=epochs, verbose=0, callbacks=callbacks, **fit
    ).history
    variables = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    return [np.asarray(v).tobytes() for v in variables], history


def files(logdir: Path, pattern: str) -> list[int]:
    """Steps of the recorded files of a kind."""
    return sorted(int(f.stem.split("-")[1]) for f in (logdir / "flight").glob(f"{pattern}-*.npz"))
