"""FlightRecorder: keep the last batches and a recent state of a training run, for a later replay.

``analyze`` never needs it: it makes a replay exact where the data is shuffled and no checkpoint is
near. Batches are plain ``.npz`` files (no pickle), written before the step that consumes them, so
that they outlive a killed process and a ``TerminateOnNaN(raise_error=True)``.
"""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

FOLDER = "flight"


class FlightRecorder(keras.callbacks.Callback):
    """Record the last batches, a state every few steps, and loss and learning rate as scalars.

    Parameters
    ----------
    logdir : str or Path
        Log directory of the run; the recorder writes below ``flight/`` in it.
    keep : int
        Batches to keep; older ones are deleted.
    every : int
        Steps between two states (``.weights.h5``, optimizer included); the last two are kept.

    Notes
    -----
    ``model.fit`` reads ``train_function`` at every step; the recorder puts a function in its place
    that hands on exactly as many batches as one call consumes (``steps_per_execution``), so that
    training is the same with and without it. Batches of a distribution strategy are not recorded.
    """

    def __init__(self, logdir: str | Path, keep: int = 8, every: int = 50) -> None:
        super().__init__()
        if keep < 1 or every < 1:
            raise ValueError("keep and every must be at least 1")
        self.folder = Path(logdir) / FOLDER
        self.keep, self.every = keep, every
        self.step = 0
        self._batches: deque[Path] = deque()
        self._states: deque[Path] = deque()
        self._writer: Any = None
        self._original: Callable[[Any], Any] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Take the place of the train function."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._writer = tf.summary.create_file_writer(str(self.folder))
        manifest = {"format": 1, "keep": self.keep, "every": self.every}
        _write(self.folder / "manifest.json", json.dumps(manifest).encode())
        self._save_state()
        self._original = self.model.train_function
        self.model.train_function = self._recording

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the scalars of the step and, now and then, the state."""
        with self._writer.as_default():
            if logs and "loss" in logs:
                tf.summary.scalar("train/loss", float(logs["loss"]), step=self.step - 1)
            rate = getattr(self.model.optimizer, "learning_rate", None)
            if rate is not None:
                tf.summary.scalar(
                    "train/learning_rate", float(np.asarray(rate)), step=self.step - 1
                )
        self._writer.flush()
        if self.step % self.every == 0:
            self._save_state()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Give the train function back."""
        if self._original is not None:
            self.model.train_function = self._original
            self._original = None
        self._writer.close()

    def record(self, batch: Any) -> None:
        """Record the batch of the next step; for a custom loop, call it before each step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"batch-{self.step:09d}.npz"
        leaves = dict(_leaves(batch))
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.savez(file, **leaves)
        temporary.replace(path)
        self._batches.append(path)
        while len(self._batches) > self.keep:
            self._batches.popleft().unlink(missing_ok=True)
        self.step += 1

    def _recording(self, iterator: Any) -> Any:
        assert self._original is not None
        if isinstance(iterator, tf.distribute.DistributedIterator):
            self.step += self.model.steps_per_execution
            return self._original(iterator)
        batches = list(itertools.islice(iterator, self.model.steps_per_execution))
        if not batches:
            raise StopIteration
        for batch in batches:
            self.record(batch)
        return self._original(iter(batches))

    def _save_state(self) -> None:
        path = self.folder / f"step-{self.step:09d}.weights.h5"
        self.model.save_weights(path)
        self._states.append(path)
        while len(self._states) > 2:
            self._states.popleft().unlink(missing_ok=True)


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Named arrays of a batch: ``x``, ``y``, ``sample_weight``, or the keys of a mapping."""
    if value is None:
        return
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, f"{name}/{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        top = ("x", "y", "sample_weight") if not name and len(value) <= 3 else None
        for index, part in enumerate(value):
            own = top[index] if top else f"{name}/{index}" if name else str(index)
            yield from _leaves(part, own)
    else:
        yield name or "x", np.asarray(value)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
