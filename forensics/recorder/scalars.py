"""Scalars of a step as one event: an op per scalar (``tf.summary``) costs a tenth of a small step.

The file is an ordinary one of TensorBoard, flushed with every step.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf


class EventFile:
    """An event file in a folder; created with the first scalar."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: tf.io.TFRecordWriter | None = None

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write the scalars of a step, and hand them to the operating system."""
        if not scalars:
            return
        values = [tf.compat.v1.Summary.Value(tag=t, simple_value=v) for t, v in scalars.items()]
        summary = tf.compat.v1.Summary(value=values)
        self._write(tf.compat.v1.Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        """Close the file; a later scalar opens another one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, event: tf.compat.v1.Event) -> None:
        if self._writer is None:
            now = time.time()
            name = f"events.out.tfevents.{now:.6f}.{socket.gethostname()}.{os.getpid()}.flight"
            self._writer = tf.io.TFRecordWriter(str(self._folder / name))
            first = tf.compat.v1.Event(wall_time=now, file_version="brain.Event:2")
            self._writer.write(first.SerializeToString())
        self._writer.write(event.SerializeToString())
        self._writer.flush()
