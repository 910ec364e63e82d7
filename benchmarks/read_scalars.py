"""Scalars of a log directory: this program and TensorBoard's EventAccumulator, side by side.

Both run in this process on the same files; CPU seconds, best of three; the ratio is peer over ours.
"""

from __future__ import annotations

import logging
import os
import platform
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from forensics.sources.logdir import read

TAGS = ("train/loss", "train/grad_norm", "train/lr", "train/accuracy")


def write(folder: Path, points: int, tensors: bool) -> int:
    """Write `points` scalars over four tags, as v2 tensors or v1 values; returns bytes."""
    writer = EventFileWriter(str(folder))
    for index in range(points):
        value = Summary.Value(tag=TAGS[index % 4])
        if tensors:
            value.tensor.CopyFrom(
                TensorProto(
                    dtype=DT_FLOAT,
                    tensor_shape=TensorShapeProto(),
                    tensor_content=struct.pack("<f", 1.0 / (index + 1)),
                )
            )
            value.metadata.plugin_data.plugin_name = "scalars"
        else:
            value.simple_value = 1.0 / (index + 1)
        writer.add_event(
            Event(wall_time=1e9 + index, step=index // 4, summary=Summary(value=[value]))
        )
    writer.close()
    return sum(f.stat().st_size for f in folder.iterdir())


def cpu(work: Callable[[], object]) -> float:
    """Best CPU seconds of three calls."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def accumulate(folder: Path) -> EventAccumulator:
    """Load everything, nothing downsampled."""
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def main() -> None:
    """Print one line per set."""
    logging.disable(logging.WARNING)
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    print(f"{'set':26s} {'MB':>6s} {'ours s':>8s} {'EventAccumulator s':>19s} {'ratio':>7s}")
    for points in (4_000, 40_000):
        for tensors in (True, False):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                size = write(folder, points, tensors)
                ours = cpu(lambda at=folder: read(at))  # type: ignore[misc]
                peer = cpu(lambda at=folder: accumulate(at))  # type: ignore[misc]
            label = f"{points} {'v2 tensors' if tensors else 'v1 values'}"
            print(f"{label:26s} {size / 1e6:6.2f} {ours:8.3f} {peer:19.3f} {peer / ours:6.1f}x")


if __name__ == "__main__":
    main()
