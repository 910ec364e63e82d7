from __future__ import annotations

import numpy as np
import pytest

from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.run import Series
from forensics.sources.separate_runs import separate_runs


def loss(writer: str, first: int = 0, quantity: Quantity = Quantity.TRAIN_LOSS) -> Series:
    steps = np.arange(first, first + 3)
    values = np.ones(3)
    return Series(quantity, "loss", writer, StepAxis.BATCH, steps, values, values.copy())


@pytest.mark.parametrize(
    ("writers", "checkpoints", "names"),
    [
        (["a/train", "b/train"], ["a/ckpt/x.index", "b/ckpt/x.index"], ("a", "b")),
        (["a", "b"], ["a/x.keras", "b/x.keras"], ("a", "b")),
        (["x/a/train", "x/b/train"], ["x/a/c/1.index", "x/b/c/1.index"], ("x/a", "x/b")),
        (["fold_0/train", "fold_1/train"], ["fold_0/1.h5", "fold_1/1.h5"], ("fold_0", "fold_1")),
        # one run with several writers
        (["logs/train", "tensorboard/train"], ["ckpt/x.index"], ()),
        (["train", "validation"], ["train/x.index", "validation/x.index"], ()),
        (["generator", "discriminator"], ["generator/1.h5", "discriminator/1.h5"], ()),
        (["worker_0", "worker_1"], ["worker_0/1.index", "worker_1/1.index"], ()),
        # not enough to tell
        (["a/train", "b/train"], ["a/x.index"], ()),
        (["a/train", "b/train"], [], ()),
        (["logs/a", "logs/b"], ["ckpt/a/1.index", "ckpt/b/1.index"], ()),
        ([".", "a"], ["1.index", "a/1.index"], ()),
        ([], ["a/1.index", "b/1.index"], ()),
    ],
)
def test_runs_told_apart(
    writers: list[str], checkpoints: list[str], names: tuple[str, ...]
) -> None:
    assert separate_runs([loss(w) for w in writers], checkpoints) == names


def test_a_run_continued_elsewhere_is_one_run() -> None:
    series = [loss("part1"), loss("part2", first=100)]
    assert separate_runs(series, ["part1/1.index", "part2/2.index"]) == ()


def test_only_training_losses_make_a_run() -> None:
    series = [loss("a"), loss("b", quantity=Quantity.VALIDATION_LOSS)]
    assert separate_runs(series, ["a/1.index", "b/1.index"]) == ()
