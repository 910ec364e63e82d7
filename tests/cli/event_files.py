"""Event files made by hand with TensorBoard's own record writer and messages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

NAME = "events.out.tfevents.1700000000.host.1.0.v2"


def write_events(folder: Path, values: Iterable[float], tag: str = "train/loss") -> Path:
    """Write one scalar per step from 0 on; return the event file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    with path.open("wb") as file:
        writer = RecordWriter(file)
        version = event_pb2.Event(wall_time=1.7e9, file_version="brain.Event:2")
        writer.write(version.SerializeToString())
        for step, value in enumerate(values):
            scalar = summary_pb2.Summary.Value(tag=tag, simple_value=value)
            event = event_pb2.Event(
                wall_time=1.7e9 + step, step=step, summary=summary_pb2.Summary(value=[scalar])
            )
            writer.write(event.SerializeToString())
    return path
