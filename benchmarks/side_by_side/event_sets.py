"""Sets of event files, written as the writers write them.

Each kind of event is written once by the real writer, TensorFlow, in a child process. That event is
parsed by protobuf, its step, time, tag and values are set, and protobuf serialises it again: so
every byte is laid out as by TensorFlow, and a million events take seconds.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import crc32c
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event

START = 1.7e9
TAGS = (
    "training/total_loss",
    "training/gradient_norm",
    "training/learning_rate",
    "training/accuracy",
)

_MODELS = """
import sys
import numpy as np, tensorflow as tf
folder = sys.argv[1]
writer = tf.summary.create_file_writer(folder + "/v2")
with writer.as_default():
    tf.summary.scalar("scalar", 1.0, step=1)
    tf.summary.histogram("histogram", np.random.default_rng(0).normal(size=1000), step=2)
    tf.summary.image("image", np.zeros((1, 8, 8, 3), np.uint8), step=3)
    tf.summary.text("text", "words", step=4)
writer.close()
with tf.Graph().as_default():
    v1 = tf.compat.v1.summary.FileWriter(folder + "/v1")
    histogram = tf.compat.v1.summary.histogram("h", tf.constant(
        np.random.default_rng(0).normal(size=1000)))
    with tf.compat.v1.Session() as session:
        v1.add_summary(session.run(histogram), 2)
        v1.add_summary(tf.compat.v1.Summary(value=[
            tf.compat.v1.Summary.Value(tag="scalar", simple_value=1.0)]), 1)
    v1.close()
"""


class Writer:
    """Writes events as records of one file."""

    def __init__(self, folder: Path, number: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"events.out.tfevents.{int(START) + number}.host.1.{number}.v2"
        self._file = self.path.open("wb", buffering=1 << 20)
        self.add(Event(wall_time=START, file_version="brain.Event:2").SerializeToString())

    def add(self, data: bytes) -> None:
        """Append a record."""
        length = struct.pack("<Q", len(data))
        self._file.write(length + _checksum(length) + data + _checksum(data))

    def close(self) -> int:
        """Close the file; returns its size."""
        self._file.close()
        return self.path.stat().st_size


def _checksum(data: bytes) -> bytes:
    crc = crc32c.crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


class Models:
    """Events of TensorFlow by kind, to be filled in."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [sys.executable, "-c", _MODELS, folder], check=True, capture_output=True, text=True
            )
            v2, v1 = (_events(next(Path(folder, name).iterdir())) for name in ("v2", "v1"))
        by_tag = {event.summary.value[0].tag: event for event in v2}
        self._v2_scalar = by_tag["scalar"]
        self._v2_histogram = by_tag["histogram"]
        self._image = by_tag["image"]
        self._text = by_tag["text"]
        by_tag = {event.summary.value[0].tag: event for event in v1}
        self._v1_scalar, self._v1_histogram = by_tag["scalar"], by_tag["h"]

    def scalar(self, *, v2: bool) -> Callable[[int, float, str, float], bytes]:
        """A function of step, wall time, tag and value."""
        event = self._v2_scalar if v2 else self._v1_scalar
        value = event.summary.value[0]

        def fill(step: int, wall: float, tag: str, number: float) -> bytes:
            event.step, event.wall_time, value.tag = step, wall, tag
            if v2:
                value.tensor.tensor_content = struct.pack("<f", number)
            else:
                value.simple_value = number
            return bytes(event.SerializeToString())

        return fill

    def histogram(self, *, v2: bool) -> Callable[[int, str], bytes]:
        """A function of step and tag; the buckets stay."""
        return self._named(self._v2_histogram if v2 else self._v1_histogram)

    def image(self, size: int) -> Callable[[int, str], bytes]:
        """A function of step and tag, of an image of `size` bytes that do not compress."""
        content = np.random.default_rng(size).bytes(size)
        self._image.summary.value[0].tensor.string_val[2] = content
        return self._named(self._image)

    def text(self, size: int) -> Callable[[int, str], bytes]:
        """A function of step and tag, of a text of `size` bytes."""
        self._text.summary.value[0].tensor.string_val[0] = b"word " * (size // 5)
        return self._named(self._text)

    @staticmethod
    def _named(event: Event) -> Callable[[int, str], bytes]:
        def fill(step: int, tag: str) -> bytes:
            event.step, event.wall_time, event.summary.value[0].tag = step, START + step, tag
            return bytes(event.SerializeToString())

        return fill


def _events(path: Path) -> list[Event]:
    data, position, found = path.read_bytes(), 0, []
    while position < len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        found.append(Event.FromString(data[position + 12 : position + 12 + length]))
        position += length + 16
    return [event for event in found if event.summary.value]


def write_scalars(models: Models, folder: Path, points: int, *, v2: bool, number: int = 0) -> int:
    """`points` scalars over four tags in one file; returns bytes."""
    writer, fill = Writer(folder, number), models.scalar(v2=v2)
    for index in range(points):
        writer.add(fill(index // 4, START + index / 8, TAGS[index % 4], 1.0 / (index + 1)))
    return writer.close()


def write_runs(models: Models, folder: Path, runs: int, tags: int, steps: int) -> int:
    """Runs of `tags` tags, one directory each; returns bytes."""
    fill, size = models.scalar(v2=True), 0
    names = [f"metric_{index}/value" for index in range(tags)]
    for run in range(runs):
        writer = Writer(folder / f"run_{run:04d}", run)
        for step in range(steps):
            for tag in names:
                writer.add(fill(step, START + step, tag, run + 1.0 / (step + 1)))
        size += writer.close()
    return size


def write_mixed(models: Models, folder: Path, size: int) -> int:
    """Images, texts, histograms and scalars, most bytes in images; returns bytes."""
    writer, step, written = Writer(folder), 0, 0
    image, text = models.image(250_000), models.text(2_000)
    histogram, scalar = models.histogram(v2=True), models.scalar(v2=True)
    while written < size:
        made = [image(step, f"images/{step % 8}"), text(step, "notes")]
        made += [histogram(step, f"weights/{index}") for index in range(8)]
        made += [scalar(step, START + step, tag, 1.0 / (step + 1)) for tag in TAGS]
        for data in made:
            writer.add(data)
        written += sum(map(len, made))
        step += 1
    return writer.close()


def write_histograms(models: Models, folder: Path, count: int, *, v2: bool) -> int:
    """Histograms over ten tags; returns bytes."""
    writer, fill = Writer(folder), models.histogram(v2=v2)
    for index in range(count):
        writer.add(fill(index // 10, f"layer_{index % 10}/kernel"))
    return writer.close()


def write_tags(models: Models, folder: Path, tags: int, steps: int = 2) -> int:
    """Very many tags; returns bytes."""
    writer, fill = Writer(folder), models.scalar(v2=True)
    for step in range(steps):
        for tag in range(tags):
            writer.add(fill(step, START + step, f"variables/{tag}/gradient_norm", tag / 7))
    return writer.close()


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for one set, gone with it."""
    with tempfile.TemporaryDirectory(prefix="forensics-bench-") as name:
        yield Path(name)
