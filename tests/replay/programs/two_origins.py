"""Two parts of a loss fail in the same step, each by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from forensics import ReplayCase

FAILING_STEP = 3


def batch(step: int) -> dict[str, Any]:
    x = np.random.default_rng(step).random((6, 2)).astype(np.float32) + 1.0
    counts = np.ones((6, 1), np.float32)
    if step == FAILING_STEP:
        x[4], counts[1] = 0.0, 0.0
    return {"x": x, "counts": counts}


def replay_case() -> ReplayCase:
    first = tf.Variable(tf.ones((2, 1)), name="first")
    second = tf.Variable(tf.ones((1,)), name="second")

    @tf.function
    def step(data: dict[str, Any]) -> Any:
        with tf.GradientTape() as tape:
            surprise = -tf.math.log(data["x"] @ first)
            share = second / data["counts"]
            loss = tf.reduce_mean(surprise) + tf.reduce_mean(tf.square(share))
        slopes = tape.gradient(loss, [first, second])
        first.assign_sub(1e-3 * slopes[0])
        second.assign_sub(1e-3 * slopes[1])
        return loss

    return ReplayCase(step=step, batch=batch, restore={"first": first, "second": second})
