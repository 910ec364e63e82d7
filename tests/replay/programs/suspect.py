"""Runs that stay finite: one that cannot predict, and one with nothing wrong."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from forensics import ReplayCase


def batch(step: int) -> tuple[Any, Any]:
    y = np.random.default_rng(step).integers(0, 2, (16, 1)).astype(np.float32)
    return np.repeat(y, 8, axis=1), y


def case_with(activation: str) -> ReplayCase:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(1, activation, name="out")], name="net"
    )
    model.compile(keras.optimizers.SGD(0.5), loss="binary_crossentropy")
    return ReplayCase(model=model, batch=batch)


def one_unit_softmax_case() -> ReplayCase:
    """Softmax of one unit is 1: whatever is learnt, every prediction is the same."""
    return case_with("softmax")


def healthy_case() -> ReplayCase:
    return case_with("sigmoid")
