"""What a FlightRecorder costs per training step of a small CNN, in CPU time.

Two copies of one model are fitted in one process, in turns, one of them recorded; the steps after
the first ones of every turn are timed (tracing is paid once). Printed: medians over the turns, with
and without, and the ratio of each turn's two. `--fsync` adds a sync of every batch to the disk.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import forensics.recorder.files as files
from forensics import FlightRecorder

BATCH, WARM, TIMED = 32, 20, 150


class Stopwatch(keras.callbacks.Callback):
    """CPU and wall milliseconds per step, after the first ones."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == WARM - 1:
            self.begin = time.process_time(), time.perf_counter()
        elif batch == WARM + TIMED - 1:
            cpu, wall = time.process_time(), time.perf_counter()
            self.cpu = (cpu - self.begin[0]) / TIMED * 1000
            self.wall = (wall - self.begin[1]) / TIMED * 1000


def network() -> Any:
    """Convolutions and two dense layers; 0.55 million weights, 6.6 MB with Adam's slots."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(230, activation="relu"),
            layers.Dense(10),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def turn(model: Any, data: tuple[Any, Any], recorder: FlightRecorder | None) -> Stopwatch:
    watch = Stopwatch()
    callbacks = [watch] if recorder is None else [recorder, watch]
    model.fit(*data, batch_size=BATCH, epochs=1, verbose=0, callbacks=callbacks)
    return watch


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--turns", type=int, default=9)
    options.add_argument("--fsync", action="store_true")
    asked = options.parse_args()
    if asked.fsync:
        _sync_every_file()
    rng = np.random.default_rng(0)
    rows = BATCH * (WARM + TIMED)
    data = rng.random((rows, 32, 32, 3), np.float32), rng.integers(0, 10, rows)
    plain, recorded = network(), network()
    results: list[tuple[Stopwatch, Stopwatch]] = []
    with tempfile.TemporaryDirectory() as folder:
        recorder = FlightRecorder(folder)
        turn(plain, data, None), turn(recorded, data, recorder)
        for number in range(asked.turns):
            if number % 2:
                pair = turn(plain, data, None), turn(recorded, data, recorder)
            else:
                pair = (turn(recorded, data, recorder), turn(plain, data, None))[::-1]
            results.append(pair)
        size = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
    for what in ("cpu", "wall"):
        pairs = [(getattr(a, what), getattr(b, what)) for a, b in results]
        ratio = statistics.median(b / a for a, b in pairs)
        one, two = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(f"{what:4}  plain {one:7.2f} ms/step  recorded {two:7.2f} ms/step  ratio {ratio:.3f}")
    synced = ", every file synced" if asked.fsync else ""
    print(f"on disk {size / 1e6:.1f} MB, batch {data[0][:BATCH].nbytes / 1e6:.2f} MB{synced}")
    print(
        f"machine: {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        f"Python {platform.python_version()}, TensorFlow {tf.__version__}",
        f"Keras {keras.__version__}",
        sep=", ",
    )


def _sync_every_file() -> None:
    plain = files.write_npz

    def synced(path: Path, arrays: Any) -> int:
        size = plain(path, arrays)
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        return size

    import forensics.recorder.flight_recorder as module

    module.write_npz = synced


if __name__ == "__main__":
    main()
