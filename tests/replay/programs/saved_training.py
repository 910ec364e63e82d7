"""Leaves a SavedModel that trains, and two batches: one that it survives, one that it does not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

ROW = 4


class Rate(tf.Module):
    """A dense layer and a loss with a logarithm in a loop; momentum of its own."""

    def __init__(self) -> None:
        super().__init__("rate")
        self.kernel = tf.Variable(tf.ones((3, 1)), name="dense/kernel")
        self.momentum = tf.Variable(tf.zeros((3, 1)), name="dense/momentum")

    @tf.function
    def amount(self, x: Any) -> Any:
        with tf.name_scope("dense"):
            return x @ self.kernel

    @tf.function(input_signature=[tf.TensorSpec((None, 3)), tf.TensorSpec((None, 1))])
    def fit(self, x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            rate = self.amount(x)
            for _ in tf.range(3):
                rate = rate - 1.0
                rate = tf.math.log(rate) + 3.0
            loss = tf.reduce_mean(tf.square(rate - y))
        gradient = tape.gradient(loss, self.kernel)
        self.momentum.assign(0.9 * self.momentum + gradient)
        self.kernel.assign_sub(1e-4 * self.momentum)
        return {"loss": loss}

    @tf.function(input_signature=[tf.TensorSpec((None, 3))])
    def serve(self, x: Any) -> Any:
        return {"rate": self.amount(x)}


def batch(bad: bool) -> dict[str, Any]:
    x = np.random.default_rng(0).random((6, 3), np.float32) + 1.0
    if bad:
        # the logarithm of 0.05, + 3, - 1 is negative: the second time round it is NaN
        x[ROW] = 1.05 / 3
    return {"x": x, "y": np.ones((6, 1), np.float32)}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    module = Rate()
    tf.saved_model.save(
        module, str(folder / "model"), signatures={"serve": module.serve, "fit": module.fit}
    )
    served = tf.Module()
    served.kernel, served.serve = module.kernel, module.serve
    tf.saved_model.save(served, str(folder / "served"), signatures={"serve": module.serve})
    for name, bad in (("good", False), ("bad", True)):
        np.savez(folder / (name + ".npz"), **batch(bad))
