"""Real writers, and TensorBoard's own reader as the oracle on sound files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.run import InputState
from forensics.sources.events.event_file import read_event_file
from forensics.sources.logdir import read
from forensics.sources.storage.place import Directory

pytestmark = pytest.mark.tf


def _by_tensorboard(path: Path) -> dict[str, list[tuple[int, bytes, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    oracle = EventAccumulator(
        str(path), size_guidance={"scalars": 0, "tensors": 0}, purge_orphaned_data=False
    )
    oracle.Reload()
    found: dict[str, list[tuple[int, bytes, float]]] = {}
    for tag in oracle.Tags()["scalars"]:
        found[tag] = [
            (e.step, struct.pack("<d", e.value), e.wall_time) for e in oracle.Scalars(tag)
        ]
    for tag in oracle.Tags()["tensors"]:
        for item in oracle.Tensors(tag):
            array: Any = tensor_util.make_ndarray(item.tensor_proto)
            if array.dtype.kind in "fiub" and array.size == 1:
                value = struct.pack("<d", float(array.reshape(())))
                found.setdefault(tag, []).append((item.step, value, item.wall_time))
    return found


def _by_us(path: Path) -> dict[str, list[tuple[int, bytes, float]]]:
    file = read_event_file(Directory(path.parent), path.name)
    assert file.input.state is InputState.COMPLETE
    assert file.warnings == ()
    return {
        tag: [
            (step, struct.pack("<d", value), wall)
            for step, value, wall in zip(
                column.steps, column.values, column.wall_times, strict=True
            )
        ]
        for tag, column in file.columns.items()
    }


def _only_file(folder: Path) -> Path:
    [path] = folder.rglob("*tfevents*")
    return path


def test_summaries_of_tensorflow_2(tmp_path: Path) -> None:
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(tmp_path))
    with writer.as_default():
        for step in range(40):
            tf.summary.scalar("train/loss", 1.0 / (step + 1), step=step)
            tf.summary.scalar("train/" + "long" * 60, step, step=step)
            tf.summary.scalar("bad", [float("nan"), float("inf"), -0.0][step % 3], step=step)
        tf.summary.histogram("weights", [1.0, 2.0, 3.0], step=0)
        tf.summary.text("note", "hello", step=0)
        tf.summary.image("image", tf.zeros([1, 4, 4, 3]), step=0)
        for kind in (tf.float64, tf.int64, tf.int32, tf.float16, tf.uint8, tf.bool):
            tf.summary.write(f"raw/{kind.name}", tf.cast(1, kind), step=2**40)
        tf.summary.write("raw/vector", tf.zeros([2]), step=0)
    writer.close()
    path = _only_file(tmp_path)
    found = _by_us(path)
    assert found == _by_tensorboard(path)
    assert len(found) == 9
    assert read_event_file(Directory(path.parent), path.name).other["tensor"] == 4


def test_summaries_of_tensorflow_1(tmp_path: Path) -> None:
    import tensorflow as tf

    with tf.Graph().as_default():
        writer = tf.compat.v1.summary.FileWriter(str(tmp_path), graph=tf.Graph())
    for step in range(40):
        summary = tf.compat.v1.Summary()
        for tag in ("loss_1", "Gradient_norm", "lr"):
            summary.value.add(tag=tag, simple_value=step / 3)
        summary.value.add(tag="w", histo=tf.compat.v1.HistogramProto(min=0, max=1, num=2))
        writer.add_summary(summary, step)
    writer.add_session_log(tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START), 20)
    writer.close()
    path = _only_file(tmp_path)
    assert _by_us(path) == _by_tensorboard(path)
    assert read_event_file(Directory(path.parent), path.name).other["histogram"] == 40


def test_the_writer_of_tensorboard(tmp_path: Path) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(tmp_path))
    for step in range(30):
        writer.add_event(Event(step=step, wall_time=step / 7, summary=scalar_pb("loss", step / 3)))
        simple = Summary(value=[Summary.Value(tag=t, simple_value=step) for t in ("a", "b")])
        writer.add_event(Event(step=step, wall_time=step / 7, summary=simple))
    writer.close()
    path = _only_file(tmp_path)
    found = _by_us(path)
    assert found == _by_tensorboard(path)
    assert set(found) == {"loss", "a", "b"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_keras_callback(tmp_path: Path) -> None:
    import keras
    import numpy as np

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    x, y = np.ones((32, 3), "float32"), np.ones((32, 1), "float32")
    model.fit(
        x,
        y,
        batch_size=8,
        epochs=2,
        verbose=0,
        validation_data=(x, y),
        callbacks=[keras.callbacks.TensorBoard(str(tmp_path), update_freq="batch")],
    )
    run = read(tmp_path)
    found = {
        (s.writer, s.tag): (s.quantity, s.step_axis, s.shift, s.steps.tolist()) for s in run.series
    }
    batch, epoch = StepAxis.BATCH, StepAxis.EPOCH
    every = list(range(8))
    assert found["train", "batch_loss"] == (Quantity.TRAIN_LOSS, batch, 1, every)
    assert found["train", "batch_mae"] == (Quantity.METRIC, batch, 1, every)
    assert found["train", "epoch_loss"] == (Quantity.TRAIN_LOSS, epoch, 0, [0, 1])
    assert found["train", "epoch_learning_rate"] == (Quantity.LEARNING_RATE, epoch, 0, [0, 1])
    assert found["validation", "epoch_loss"] == (Quantity.VALIDATION_LOSS, epoch, 0, [0, 1])
    # Logged after four and after eight batches: the last of each was number 3 and 7.
    name = "evaluation_loss_vs_iterations"
    assert found["validation", name] == (Quantity.VALIDATION_LOSS, batch, 1, [3, 7])
    assert run.train_loss is not None
    assert (run.train_loss.tag, run.warnings) == ("batch_loss", ())
