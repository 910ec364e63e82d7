"""One training step watched by each instrument, side by side in one process.

Plain compiled step, `tf.debugging.enable_check_numerics`, tfdbg2 (`enable_dump_debug_info` with
FULL_HEALTH) and this program's own trace, for a CNN, a transformer block stack and a ResNet.
CPU seconds per step in the steady state (traces and files are made before), best of a few; ratios
over the plain step. The last column is what each instrument can name.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import tensorflow as tf

from forensics.replay.worker.case.entry import Case
from forensics.replay.worker.case.restore import build
from forensics.replay.worker.localising.localise import Localiser
from forensics.replay.worker.stepping.state import State
from forensics.replay.worker.stepping.stepper import Stepper, to_tensors

REPEATS = 5
NAMES = {
    "plain step": "nothing",
    "plain step, op by op": "nothing",
    "check_numerics": "an op, in program order",
    "check_numerics, op by op": "an op, in program order",
    "tfdbg2 FULL_HEALTH": "every op's health, on disk",
    "own trace": "the harmful op, layer, line, rows",
}


def cnn() -> tuple[keras.Model, Any]:
    """A plain convolutional network, 32 images of 32 x 32."""
    model = keras.Sequential([keras.Input((32, 32, 3))])
    for filters in (16, 32, 64):
        model.add(keras.layers.Conv2D(filters, 3, activation="relu"))
        model.add(keras.layers.MaxPooling2D(2))
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(10))
    return model, _images(32, 32)


def transformer() -> tuple[keras.Model, Any]:
    """Two encoder blocks of width 128 with four heads over 64 tokens, 16 sequences."""
    tokens = keras.Input((64,), dtype="int32")
    x = keras.layers.Embedding(1000, 128)(tokens)
    for _ in range(2):
        attended = keras.layers.MultiHeadAttention(4, 32)(x, x)
        x = keras.layers.LayerNormalization()(keras.layers.Add()([x, attended]))
        wide = keras.layers.Dense(256, activation="gelu")(x)
        narrow = keras.layers.Dense(128)(wide)
        x = keras.layers.LayerNormalization()(keras.layers.Add()([x, narrow]))
    out = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling1D()(x))
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 1000, (16, 64)).astype("int32"), rng.integers(0, 10, 16)
    return keras.Model(tokens, out), batch


def resnet() -> tuple[keras.Model, Any]:
    """A ResNet-18 in layout (8 blocks, BatchNorm), narrow, 16 images of 32 x 32."""
    image = keras.Input((32, 32, 3))
    x = _convolved(image, 16, 1)
    for filters, stride in (
        (16, 1),
        (16, 1),
        (32, 2),
        (32, 1),
        (64, 2),
        (64, 1),
        (128, 2),
        (128, 1),
    ):
        skip = x if x.shape[-1] == filters else keras.layers.Conv2D(filters, 1, stride)(x)
        inner = _convolved(_convolved(x, filters, stride), filters, 1)
        x = keras.layers.ReLU()(keras.layers.Add()([skip, inner]))
    out = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, out), _images(16, 32)


def _convolved(x: Any, filters: int, stride: int) -> Any:
    x = keras.layers.Conv2D(filters, 3, stride, padding="same", use_bias=False)(x)
    return keras.layers.ReLU()(keras.layers.BatchNormalization()(x))


def _images(count: int, side: int) -> Any:
    rng = np.random.default_rng(0)
    return rng.random((count, side, side, 3), np.float32), rng.integers(0, 10, count)


def cpu(step: Callable[[], object]) -> float:
    """Best CPU seconds of `REPEATS` calls, after one that is not counted."""
    step()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return min(times)


@contextmanager
def retraced(stepper: Stepper) -> Iterator[None]:
    """Traces of a watched step are made anew before and dropped after."""
    stepper.retrace()
    try:
        yield
    finally:
        stepper.retrace()


def measure(model: keras.Model, batch: Any) -> dict[str, float]:
    """CPU seconds of a step by instrument."""
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    case = Case({"model": model, "batch": lambda i: batch})
    state = State(case.restore)
    stepper = Stepper(case, state)
    before = build(case, state, stepper, batch)
    data = to_tensors(batch)
    found = {"plain step": cpu(lambda: stepper.own(batch))}
    found["plain step, op by op"] = cpu(lambda: stepper.eager(data))
    tf.debugging.enable_check_numerics()
    with retraced(stepper):
        found["check_numerics"] = cpu(lambda: stepper.own(batch))
        found["check_numerics, op by op"] = cpu(lambda: stepper.eager(data))
        tf.debugging.disable_check_numerics()
    with tempfile.TemporaryDirectory() as folder:
        tf.debugging.experimental.enable_dump_debug_info(
            folder, tensor_debug_mode="FULL_HEALTH", circular_buffer_size=-1
        )
        with retraced(stepper):
            found["tfdbg2 FULL_HEALTH"] = cpu(lambda: stepper.own(batch))
            tf.debugging.experimental.disable_dump_debug_info()
    localiser = Localiser(stepper, before, batch, None)
    found["own trace"] = cpu(lambda: localiser.trace(before, batch))
    return found


def main() -> None:
    """Print a table per model."""
    print(
        f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, "
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}; CPU seconds, best of {REPEATS}"
    )
    for make in (cnn, transformer, resnet):
        keras.utils.set_random_seed(0)
        model, batch = make()
        found = measure(model, batch)
        plain = found["plain step"]
        print(f"\n{make.__name__}: {model.count_params():,} parameters")
        print(f"{'instrument':24s} {'ms':>9s} {'ratio':>7s}  names")
        for name, seconds in found.items():
            print(f"{name:24s} {1000 * seconds:9.1f} {seconds / plain:6.1f}x  {NAMES[name]}")


if __name__ == "__main__":
    main()
