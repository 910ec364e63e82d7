"""A small convolutional network on synthetic images: ``python train.py OUTDIR N_IMAGES``.

An ordinary Keras program. With 100 images it learns; with 9,000 its loss becomes NaN, although
nothing but the number of images was changed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from forensics import ReplayCase

CLASSES = 10
BATCH = 50
STEPS = 180  # 9,000 images once, or 100 images ninety times
BLANK_FRAME = 5_423

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def load_images(n: int) -> tuple[Images, Labels]:
    """Return ``n`` grey images (n, 28, 28, 1) with pixels 0..255, and their classes (n,)."""
    rng = np.random.default_rng(7)
    templates = rng.random((CLASSES, 7, 7)).repeat(4, axis=1).repeat(4, axis=2)
    labels = rng.integers(0, CLASSES, 9_000)
    noise = rng.normal(0.0, 0.25, (9_000, 28, 28))
    images = np.clip(255 * (templates[labels] + noise), 0, 255).round()
    images[BLANK_FRAME] = 0  # the camera lost one frame
    return images[:n, ..., None].astype(np.float32), labels[:n]


class Standardize(keras.layers.Layer):
    """Each image to mean 0 and standard deviation 1."""

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Return the standardised images."""
        mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
        std = tf.math.reduce_std(images, axis=(1, 2, 3), keepdims=True)
        return (images - mean) / std


def build_model() -> keras.Model:
    """Return the compiled model."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            Standardize(name="standardize"),
            # no ReLU and no maximum: compiled, some CPUs turn NaN into 0 there and hide the failure
            keras.layers.Conv2D(8, 3, activation="tanh", name="conv_1"),
            keras.layers.AveragePooling2D(2, name="pool_1"),
            keras.layers.Conv2D(16, 3, activation="tanh", name="conv_2"),
            keras.layers.AveragePooling2D(2, name="pool_2"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(CLASSES, name="logits"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def train(outdir: Path, n_images: int) -> None:
    """Train for ``STEPS`` steps, with curves and a checkpoint every 20 batches in ``outdir``."""
    batches = tf.data.Dataset.from_tensor_slices(load_images(n_images)).batch(BATCH).repeat()
    build_model().fit(
        batches,
        steps_per_epoch=STEPS,
        shuffle=False,
        verbose=2,
        callbacks=[
            keras.callbacks.TensorBoard(outdir / "logs", update_freq=1, write_graph=False),
            keras.callbacks.ModelCheckpoint(
                str(outdir / "checkpoints" / "step_{batch:05d}.weights.h5"),
                save_weights_only=True,
                save_freq=20,
            ),
        ],
    )


def replay_case() -> ReplayCase:
    """Return what `forensics analyze OUTDIR --replay train.py:replay_case` runs again."""
    images, labels = load_images(9_000)

    def batch(step: int) -> tuple[Images, Labels]:
        first = step * BATCH % len(images)
        return images[first : first + BATCH], labels[first : first + BATCH]

    return ReplayCase(model=build_model(), batch=batch)


if __name__ == "__main__":
    train(Path(sys.argv[1]), int(sys.argv[2]))
