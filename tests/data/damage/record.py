"""Records the files of this directory with their writers: ``python record.py``.

Recorded with TensorFlow 2.21.0 and Keras 3.15.1. The dump's copy of TensorFlow's own source files
(3 MB) is left out.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

HERE = Path(__file__).resolve().parent


def trained() -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = [keras.Input((3,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)]
    model = keras.Sequential(layers, name="small")
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    x, y = np.ones((8, 3), np.float32), np.ones((8, 1), np.float32)
    model.fit(x, y, epochs=2, verbose=0)
    return model


def main() -> None:
    model = trained()
    model.save(HERE / "model.keras")
    model.save_weights(HERE / "model.weights.h5")
    model.save(HERE / "legacy.h5")
    model.save_weights(HERE / "sharded.weights.json", max_shard_size=1e-7)
    model.export(HERE / "saved_model", verbose=False)
    dump = HERE / "tfdbg2"
    writer = tf.debugging.experimental.enable_dump_debug_info(
        str(dump), tensor_debug_mode="FULL_HEALTH", circular_buffer_size=-1
    )
    tf.function(lambda x: tf.math.log(x) + 1.0)(tf.constant([1.0, 0.0]))
    writer.FlushExecutionFiles()
    writer.FlushNonExecutionFiles()
    next(dump.glob("*.source_files")).unlink()


if __name__ == "__main__":
    main()
