"""Steps that no check sees into: a function compiled earlier, a thread."""

from __future__ import annotations

import importlib
import threading
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from forensics import ReplayCase

FAILING_STEP, ROW = 2, 3


def numbers(step: int) -> Any:
    x = np.random.default_rng(step).random((5, 2), np.float32) + 0.1
    if step == FAILING_STEP:
        x[ROW] = 0.0
    return x


def kept_case() -> ReplayCase:
    """A concrete function that the program made long ago and keeps: masked logs, then a bad one."""
    weight = tf.Variable(tf.ones((2, 1)), name="scale")

    @tf.function
    def logs(x: Any) -> Any:
        amount = x @ weight
        masked = tf.where(amount > 9.0, tf.math.log(amount - 9.0), 0.0)
        return masked + tf.math.rsqrt(amount)

    kept = logs.get_concrete_function(tf.TensorSpec((None, 2)))

    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(kept(tf.convert_to_tensor(x)))
        weight.assign_sub(1e-4 * tape.gradient(loss, weight))
        return loss

    return ReplayCase(step=step, batch=numbers, restore={"weight": weight})


def threaded_case() -> ReplayCase:
    """A step that computes its targets in a thread."""
    weight = keras.Variable(np.ones((2, 1), np.float32), name="scale")

    def step(x: Any) -> Any:
        targets = []

        def prepare() -> None:
            targets.append(tf.math.log(tf.reduce_sum(x, axis=1, keepdims=True)))

        worker = threading.Thread(target=prepare)
        worker.start()
        worker.join()
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(tf.matmul(x, weight.value) - targets[0]))
        weight.assign(weight - 1e-4 * tape.gradient(loss, weight.value))
        return loss

    return ReplayCase(step=step, batch=numbers, restore={"weight": weight})


def without_op_callbacks_case() -> ReplayCase:
    """A version of TensorFlow without a private part of it, as far as the worker can see."""
    probes = importlib.import_module("_forensics_replay_worker.probes")

    def gone() -> Any:
        raise ImportError("cannot import name 'op_callbacks'")

    probes.PROBES[probes.OP_CALLBACKS].find = gone
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")], name="net")

    def logs(y_true: Any, y_pred: Any) -> Any:
        return tf.reduce_mean(tf.math.log(y_true) - y_pred)

    model.compile(keras.optimizers.SGD(1e-3), loss=logs, jit_compile=False)
    return ReplayCase(model=model, batch=lambda step: (numbers(step), numbers(step)[:, :1]))
