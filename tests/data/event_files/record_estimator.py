"""Records the event files of a run of ``tf.estimator`` that is trained, evaluated and resumed.

Recorded with TensorFlow 2.15.1 (the last that has estimators), packed with gzip:

    python record_estimator.py FOLDER
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

FACTOR = 0.5


def model(features: Any, labels: Any, mode: str) -> Any:
    """One weight, no randomness: its value after each step can be computed by hand."""
    weight = tf.compat.v1.get_variable("weight", (), initializer=tf.compat.v1.zeros_initializer())
    loss = tf.square(weight - 1.0)
    tf.compat.v1.summary.histogram("weights", tf.stack([weight, -weight, 2 * weight]))
    metrics = {"distance": tf.compat.v1.metrics.mean(tf.abs(weight - 1.0))}
    step = tf.compat.v1.train.get_or_create_global_step()
    train = tf.group(
        weight.assign(weight + FACTOR * (1 - weight)), tf.compat.v1.assign_add(step, 1)
    )
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train, eval_metric_ops=metrics)


def data() -> Any:
    return tf.data.Dataset.from_tensors(({"x": [[1.0]]}, [1.0])).repeat()


def run(name: str, stage: str) -> None:
    config = tf.estimator.RunConfig(save_summary_steps=2, log_step_count_steps=2)
    estimator = tf.estimator.Estimator(model, name, config)
    if stage == "train":
        estimator.train(data, steps=6)
        estimator.evaluate(data, steps=1)
    else:
        estimator.train(data, steps=4)


def record(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        for stage in ("train", "resume"):
            subprocess.run([sys.executable, __file__, name, stage], check=True)
        for path in Path(name).rglob("*tfevents*"):
            target = folder / path.relative_to(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as plain, gzip.open(target, "wb", 9) as packed:
                shutil.copyfileobj(plain, packed)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        run(*sys.argv[1:])
    else:
        record(Path(sys.argv[1]) / "estimator")
