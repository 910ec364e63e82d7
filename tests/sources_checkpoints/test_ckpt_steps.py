"""The step of a checkpoint: variable, file name, iterations, save counter, in this order."""

from __future__ import annotations

import pytest

from forensics.domain.run import StepSource
from forensics.sources.checkpoints.steps import Counters, step_of


@pytest.mark.parametrize(
    ("path", "step"),
    [
        ("ckpt/step_000040.weights.h5", 40),
        ("ckpt-40", 40),
        ("run/model.ckpt-40", 40),
        ("ckpt_00040.keras", 40),
        ("model-step=40.weights.h5", 40),
        ("epoch=2-step=40.weights.h5", 40),
        ("model_global_step_40.h5", 40),
        ("40.weights.h5", 40),
        ("step_40/model.weights.h5", 40),
        ("ckpt-0", 0),
    ],
)
def test_names_that_count_steps(path: str, step: int) -> None:
    assert step_of(path, Counters()) == (step, StepSource.FILE_NAME)


@pytest.mark.parametrize(
    "path",
    [
        "epoch-03.weights.h5",
        "weights.epoch_03.keras",
        "ep03.keras",
        "weights.05-1.23.h5",
        "resnet50.weights.h5",
        "model_v2.keras",
        "model-2026-11-23.keras",
        "model_20261123.keras",
        "ckpt-1795465415",
        "final.keras",
        "sm/variables/variables",
    ],
)
def test_names_that_do_not(path: str) -> None:
    assert step_of(path, Counters()) == (None, None)
    assert step_of(path, Counters(iterations=120)) == (120, StepSource.ITERATIONS)


def test_a_variable_wins() -> None:
    counters = Counters(step=7, iterations=6, save_counter=3)
    assert step_of("ckpt-40", counters) == (7, StepSource.VARIABLE)


def test_numbers_of_saves_are_no_steps() -> None:
    # tf.train.CheckpointManager's default: ckpt-1, ckpt-2, ...
    assert step_of("ckpt-2", Counters(iterations=2000, save_counter=2)) == (
        2000,
        StepSource.ITERATIONS,
    )
    assert step_of("ckpt-2", Counters(save_counter=2)) == (2, StepSource.SAVE_COUNTER)


def test_a_save_at_every_step() -> None:
    assert step_of("ckpt-2", Counters(iterations=2, save_counter=2)) == (2, StepSource.FILE_NAME)


def test_a_bare_number_below_the_iterations_counts_epochs() -> None:
    assert step_of("cp-0003.weights.h5", Counters(iterations=1500)) == (
        1500,
        StepSource.ITERATIONS,
    )


def test_iterations_lag_behind_where_loss_scaling_skips() -> None:
    assert step_of("ckpt-40", Counters(iterations=38, save_counter=4)) == (
        40,
        StepSource.FILE_NAME,
    )


def test_a_step_word_is_believed() -> None:
    # Several updates per step.
    assert step_of("step_10.keras", Counters(iterations=50)) == (10, StepSource.FILE_NAME)


def test_nothing_is_known() -> None:
    assert step_of("model", Counters()) == (None, None)
