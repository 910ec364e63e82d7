"""Record the files that Keras 3 writes (run once with Keras 3.15.1, TensorFlow 2.21, h5py 3.14).

``python record_keras3.py FOLDER`` writes the files and, beside each, what Keras itself says of its
variables: ``<file>.truth.json`` with path, shape, dtype and the SHA-256 of the bytes of each.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np


def truth(model: Any) -> list[dict[str, Any]]:
    variables = [*model.variables]
    if getattr(model, "optimizer", None) is not None:
        variables += model.optimizer.variables
    said = []
    for variable in variables:
        array = np.asarray(keras.ops.convert_to_numpy(variable))
        said.append(
            {
                "path": variable.path,
                "shape": list(array.shape),
                "dtype": keras.backend.standardize_dtype(variable.dtype),
                "sha256": hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest(),
            }
        )
    return said


def keep(model: Any, path: Path, **options: Any) -> None:
    if path.name.endswith(".weights.h5") or path.name.endswith(".weights.json"):
        model.save_weights(path, **options)
    else:
        model.save(path, **options)
    Path(f"{path}.truth.json").write_text(json.dumps(truth(model)))


def fitted(model: Any, **options: Any) -> Any:
    source = np.random.default_rng(7)
    shape = model.input_shape[1:]
    x = source.normal(size=(8, *shape)).astype("float32")
    y = source.normal(size=(8, *model.output_shape[1:])).astype("float32")
    model.compile(**{"loss": "mse", "optimizer": "adam", **options})
    model.fit(x, y, epochs=1, batch_size=4, verbose=0)
    return model


def mixture() -> Any:
    """Nested and shared layers, a seed generator, a recurrent layer, batch statistics."""
    layers = keras.layers
    inner = keras.Sequential(
        [layers.Dense(3, activation="relu"), layers.Dropout(0.5)], name="inner"
    )
    shared = layers.Dense(3, name="shared")
    given = keras.Input((4, 2), name="given")
    x = layers.Bidirectional(layers.GRU(2, return_sequences=True), name="both")(given)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Flatten()(x)
    x = inner(x)
    x = layers.Add()([shared(x), shared(layers.Activation("tanh")(x))])
    return keras.Model(given, layers.Dense(2, name="out")(x), name="mixture")


def small(units: int = 3) -> Any:
    return keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(units, activation="relu"), keras.layers.Dense(1)]
    )


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(1)
    optimizers = keras.optimizers
    schedule = optimizers.schedules.CosineDecay(0.1, 100, alpha=0.01)
    mixed = fitted(
        mixture(),
        optimizer=optimizers.AdamW(schedule, weight_decay=0.01, global_clipnorm=1.0),
        metrics=["mae"],
        loss=keras.losses.Huber(delta=2.0),
    )
    keep(mixed, folder / "mixture.weights.h5")
    keep(mixed, folder / "mixture.keras")
    keep(mixed, folder / "mixture.h5")
    model = fitted(
        small(), optimizer=optimizers.SGD(0.01, momentum=0.9, nesterov=True, clipvalue=5.0)
    )
    keep(model, folder / "sgd.keras", zipped=True)
    model.save(folder / "unzipped", zipped=False)
    keep(fitted(small(40)), folder / "sharded.weights.json", max_shard_size=1e-6)
    for policy in ("bfloat16", "float16", "mixed_float16", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        keep(fitted(small()), folder / f"{policy}.weights.h5")
    keep(fitted(small()), folder / "mixed_bfloat16.keras")
    keras.config.set_dtype_policy("float32")
    for mode in ("int8", "int4", "float8"):
        model = small(4)
        model.quantize(mode)
        keep(model, folder / f"{mode}.weights.h5")
    model = small()
    model.layers[0].enable_lora(2)
    keep(fitted(model), folder / "lora.weights.h5")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
