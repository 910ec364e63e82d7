"""One spelling of the configuration, whoever wrote it down."""

from __future__ import annotations

from typing import Any

import pytest

from forensics.detectors.loss_mismatch import mismatch
from forensics.detectors.scenes import logged, replayed
from forensics.detectors.settings import Settings


def of(**config: Any) -> Settings:
    return Settings.of(logged(config=config))


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("CategoricalCrossentropy", "categorical_crossentropy"),
        ("keras.losses.MeanSquaredError", "mean_squared_error"),
        ("my>BernoulliNLL", "bernoulli_nll"),
        ({"class_name": "Huber", "config": {"name": "huber"}}, "huber"),
        ({"class_name": "function", "config": "nll"}, "nll"),
        (["mse", "mae"], None),
        ("", None),
    ],
)
def test_names(written: Any, name: str | None) -> None:
    assert of(loss=written).loss == name


def test_the_replay_knows_better() -> None:
    scene = replayed(config={"loss": "mse", "output_units": 3})
    assert Settings.of(scene).loss == "mse"
    assert Settings.of(scene).output_units == 3


def test_last_activation_of_a_list() -> None:
    rows = [{"layer": "a", "activation": "relu"}, {"layer": "b", "activation": "softmax"}]
    assert of(activations=rows).last_activation == "softmax"
    assert of(activations=[{"layer": "b", "activation": "linear"}]).last_activation is None
    assert of(activations=[]).last_activation is None


PAIRS = [
    ("binary_crossentropy", "sigmoid", 1, False, True),
    ("binary_crossentropy", "softmax", 1, False, False),
    ("binary_crossentropy", "linear", 1, True, True),
    ("binary_crossentropy", "linear", 1, False, False),
    ("binary_crossentropy", "softmax", 2, False, True),
    ("categorical_crossentropy", "softmax", 10, False, True),
    ("categorical_crossentropy", "softmax", 10, True, False),
    ("categorical_crossentropy", "relu", 10, False, False),
    ("sparse_categorical_crossentropy", "linear", 10, True, True),
    ("sparse_categorical_crossentropy", "sigmoid", 1, False, False),
    ("mean_squared_error", "relu", 1, None, True),
    ("mean_squared_error", "softmax", 4, None, True),
    ("poisson", "softplus", 1, None, True),
]


@pytest.mark.parametrize(("loss", "last", "units", "logits", "fits"), PAIRS)
def test_pairs(loss: str, last: str, units: int, logits: bool | None, fits: bool) -> None:
    found = of(loss=loss, last_activation=last, output_units=units, from_logits=logits)
    assert (mismatch(found) is None) is fits


def test_half_precision() -> None:
    assert of(dtype_policy="mixed_float16").half_precision
    assert of(dtype_policy="mixed_bfloat16").half_precision
    assert not of(dtype_policy="float32").half_precision
    assert not of().half_precision
