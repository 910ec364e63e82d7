"""Log directories written by real writers, with what was planted in them."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import numpy as np

RECORDED = Path(__file__).parents[1] / "data" / "event_files"
"""What writers wrote that are not installed here; each folder's script made it."""


def tensorflow_2(folder: Path) -> None:
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(folder))
    source = np.random.default_rng(0)
    with writer.as_default():
        for step in range(12):
            tf.summary.scalar("train/loss", 1.0 / (step + 1), step=step)
            tf.summary.scalar("bad", [np.nan, np.inf, -0.0][step % 3], step=step)
            tf.summary.histogram("normal", source.normal(size=99), step=step)
            tf.summary.histogram("normal", source.normal(size=9) - 1e300, step=step)
            tf.summary.histogram("alike", np.full(7, 0.25), step=step)
            tf.summary.histogram("buckets/1", source.normal(size=10), step=step, buckets=1)
            tf.summary.histogram("buckets/0", source.normal(size=10), step=step, buckets=0)
        tf.summary.histogram("nothing", np.zeros(0), step=3)
        tf.summary.histogram("nan", [np.nan, 1.0], step=3)
        tf.summary.histogram("infinite", [np.inf, 1.0], step=3)
        tf.summary.text("note", "hällo", step=2)
        tf.summary.image("image", source.uniform(size=(2, 4, 6, 3)), step=5, max_outputs=2)
        tf.summary.audio("sound", source.uniform(-1, 1, (2, 100, 1)).astype("f4"), 8000, step=5)
        tf.summary.write("raw/table", tf.reshape(tf.range(6), (2, 3)), step=7)
        tf.summary.write("raw/flags", tf.constant([True, False]), step=7)
        tf.summary.write("raw/numbers", tf.constant([1 + 2j]), step=7)
        for kind in (tf.float64, tf.int64, tf.int32, tf.float16, tf.uint8, tf.bool):
            tf.summary.write(f"one/{kind.name}", tf.cast(1, kind), step=2**40)
    writer.close()


def bfloat16(folder: Path) -> None:
    import tensorflow as tf

    with tf.summary.create_file_writer(str(folder)).as_default():
        tf.summary.write("table", tf.constant([1.5, 2.5], tf.bfloat16), step=7)


def graphs(folder: Path) -> None:
    """A graph, a traced function, a summary handed over as bytes."""
    import tensorflow as tf

    @tf.function
    def double(x: Any) -> Any:
        return x * 2

    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        tf.summary.graph(double.get_concrete_function(tf.constant(1.0)).graph)
        tf.summary.trace_on(graph=True, profiler=False)
        double(tf.constant(1.0))
        tf.summary.trace_export("traced", step=4)
        value = tf.compat.v1.Summary.Value(tag="handed", simple_value=0.5)
        tf.summary.experimental.write_raw_pb(
            tf.compat.v1.Summary(value=[value]).SerializeToString(), step=9
        )
    writer.close()


def tensorflow_1(folder: Path) -> None:
    """A session that is started twice; its steps go back."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session() as session:
        values = v1.placeholder(tf.float32, [None])
        noted = v1.summary.text("note", tf.constant("said"))
        merged = v1.summary.merge(
            [
                v1.summary.scalar("loss_1", tf.reduce_sum(values)),
                v1.summary.histogram("weights", values),
                v1.summary.image("image", tf.zeros([2, 4, 6, 3]), max_outputs=2),
                v1.summary.audio("sound", tf.zeros([1, 100, 1]), 8000.0),
                noted,
            ]
        )
        writer = v1.summary.FileWriter(str(folder), graph=graph)
        for first, last in ((0, 6), (3, 9)):
            start = v1.SessionLog(status=v1.SessionLog.START, msg="go")
            writer.add_session_log(start, first)
            for step in range(first, last):
                feed = {values: np.linspace(-step, step + 0.5, 5)}
                writer.add_summary(session.run(merged, feed), step)
        writer.add_session_log(v1.SessionLog(status=v1.SessionLog.STOP), 9)
        saved = v1.SessionLog(status=v1.SessionLog.CHECKPOINT, checkpoint_path="/a/b")
        writer.add_session_log(saved, 9)
        writer.add_run_metadata(v1.RunMetadata(), "step 9", 9)
        writer.close()


def tensorboard_x(folder: Path) -> None:
    from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

    with SummaryWriter(str(folder)) as writer:
        for step in range(6):
            writer.add_scalar("Loss/train", 1.0 / (step + 1), step, walltime=1000.0 + step)
            writer.add_scalars("both", {"a": step, "b": -step}, step, walltime=1000.0 + step)
            weights = np.linspace(-step, step, 20)
            writer.add_histogram("few", weights, step, bins="auto", walltime=1000.0 + step)
        writer.add_histogram("many", np.linspace(0, 1, 50), 1)
        five = {"min": -1, "max": 2, "num": 3, "sum": 4, "sum_squares": 5}
        writer.add_histogram_raw("raw", bucket_limits=[0, 1, 2], bucket_counts=[1, 0, 2], **five)
        writer.add_text("note", "**grüße**", 3)
        writer.add_image("image", np.zeros((3, 4, 6)), 1)
        writer.add_pr_curve("pr", np.array([0, 1, 1]), np.array([0.1, 0.5, 0.9]), 0, 5)
        writer.add_custom_scalars({"group": {"chart": ["Multiline", ["Loss/train"]]}})
        hparams = {"lr": 0.01, "batch_size": 32, "optimizer": "Adam", "nesterov": True}
        writer.add_hparams(hparams, {"hparam/accuracy": 0.5}, name="trial")


def hparams_of_tensorflow(folder: Path) -> None:
    import tensorflow as tf
    from tensorboard.plugins.hparams import api as hp

    rate = hp.HParam("learning_rate", hp.RealInterval(1e-4, 1.0))
    units = hp.HParam("units", hp.Discrete([8, 16]))
    with tf.summary.create_file_writer(str(folder)).as_default():
        hp.hparams_config(hparams=[rate, units], metrics=[hp.Metric("accuracy")])
    for trial in (1, 2):
        with tf.summary.create_file_writer(str(folder / f"trial-{trial}")).as_default():
            hp.hparams({rate: 0.01, units: 8 * trial, "batch_size": 16}, trial_id=f"t{trial}")
            tf.summary.scalar("accuracy", 0.5 + trial / 10, step=1)


def keras_callback(folder: Path) -> None:
    """Weights become NaN in the first epoch of the second training."""
    import keras
    from tensorboard.plugins.hparams import api as hp

    x, y = np.ones((32, 3), "float32"), np.ones((32, 1), "float32")
    for name, rate in (("sound", 0.01), ("poisoned", 1e30)):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="only")])
        model.compile(keras.optimizers.SGD(rate), "mse")
        callback = keras.callbacks.TensorBoard(
            str(folder / name), histogram_freq=1, write_images=True, update_freq=1
        )
        trial = hp.KerasCallback(str(folder / name), {hp.HParam("lr"): rate, "optimizer": "SGD"})
        model.fit(
            x,
            9 * y,
            batch_size=8,
            epochs=2,
            verbose=0,
            callbacks=[callback, trial],
            validation_data=(x, y),
            shuffle=False,
        )


def recorded(name: str, folder: Path) -> None:
    """Unpack a recorded log directory: TensorBoard reads no packed files."""
    for path in (RECORDED / name).rglob("*tfevents*"):
        target = folder / path.relative_to(RECORDED / name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.read_bytes()[:2] == b"\x1f\x8b":
            with gzip.open(path) as packed, target.open("wb") as plain:
                shutil.copyfileobj(packed, plain)
        else:
            shutil.copy(path, target)


SLOW: dict[str, Any] = {"keras": keras_callback}
SETS: dict[str, Any] = {
    "tensorflow_2": tensorflow_2,
    "bfloat16": bfloat16,
    "graphs": graphs,
    "tensorflow_1": tensorflow_1,
    "tensorboard_x": tensorboard_x,
    "hparams": hparams_of_tensorflow,
    **{
        name: (lambda folder, name=name: recorded(name, folder))
        for name in ("pytorch", "lightning", "estimator")
    },
}
