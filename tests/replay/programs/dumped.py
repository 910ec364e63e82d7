"""A run that wrote a debug dump: a mask in every step, a bad logarithm in the fourth."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import tensorflow as tf

STEPS, FAILING_STEP = 6, 3


@tf.function
def summed_logs(x: Any) -> Any:
    total = tf.zeros_like(x)
    for count in tf.range(3):
        total += tf.math.log(x + 1.0 - tf.cast(count, tf.float32) / 2.0)
    return total


class Run:
    def __init__(self) -> None:
        self.weight = tf.Variable(tf.ones((2, 1)))

    @tf.function
    def step(self, x: Any) -> Any:
        with tf.GradientTape() as tape:
            scores = tf.where(x > 0.5, x, -np.inf)
            loss = tf.reduce_mean(summed_logs(x) @ self.weight) + tf.reduce_sum(tf.exp(scores))
        self.weight.assign_sub(1e-3 * tape.gradient(loss, self.weight))
        return loss


def batch(step: int) -> Any:
    x = np.random.default_rng(step).random((4, 2), np.float32) + 0.1
    if step == FAILING_STEP:
        x[1] = 0.0
    return x


def main(folder: str, mode: str) -> None:
    tf.debugging.experimental.enable_dump_debug_info(
        folder, tensor_debug_mode=mode, circular_buffer_size=-1
    )
    run = Run()
    for step in range(STEPS):
        run.step(tf.constant(batch(step)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
