from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from forensics.domain.quantity import StepAxis
from forensics.sources.step_axes import Draft, settle
from forensics.sources.tags import meaning

BATCH, EPOCH = StepAxis.BATCH, StepAxis.EPOCH


def draft(
    tag: str,
    steps: Sequence[int],
    values: Sequence[float] | None = None,
    writer: str = "train",
    *,
    lossy: bool = False,
) -> Draft:
    numbers = np.asarray(steps, np.int64)
    made = np.linspace(1, 2, len(steps)) if values is None else np.asarray(values, np.float64)
    found = meaning(tag, writer)
    return Draft(writer, tag, found, numbers, made, numbers.astype(np.float64), lossy=lossy)


def settled(*drafts: Draft) -> list[tuple[StepAxis, int]]:
    settle(drafts)
    return [(d.axis, d.shift) for d in drafts]


@pytest.mark.parametrize(
    ("tag", "steps", "expected"),
    [
        ("batch_loss", range(1, 9), (BATCH, 1)),
        ("batch_loss", range(0, 9), (BATCH, 0)),
        ("batch_loss", range(100, 900, 100), (BATCH, 1)),
        ("batch_loss", range(500, 510), (BATCH, 0)),
        ("batch_loss", [1], (BATCH, 1)),
        ("batch_loss", [*range(1, 5), *range(1, 5)], (BATCH, 1)),
        ("evaluation_loss_vs_iterations", [128, 256], (BATCH, 1)),
        ("epoch_loss", range(5), (EPOCH, 0)),
        ("epoch_loss", [4, 9, 14], (EPOCH, 0)),
        ("train_loss_epoch", [99, 199, 299], (BATCH, 0)),
        ("train_loss_epoch", [0, 1, 2], (EPOCH, 0)),
        ("loss", range(9), (BATCH, 0)),
        ("loss", range(1, 9), (BATCH, 1)),
        ("loss", range(10, 90, 10), (BATCH, 0)),
        ("loss", [], (BATCH, 0)),
    ],
)
def test_one_series(tag: str, steps: Sequence[int], expected: tuple[StepAxis, int]) -> None:
    assert settled(draft(tag, steps)) == [expected]


def test_step_0_of_a_sibling_rules_a_shift_out() -> None:
    later = draft("train/grad_norm", range(1, 9))
    assert settled(draft("train/loss", range(9)), later) == [(BATCH, 0), (BATCH, 0)]


def test_a_sparse_sibling_shares_the_shift() -> None:
    sparse = draft("train/grad_norm", [10, 20])
    assert settled(draft("train/loss", range(1, 31)), sparse) == [(BATCH, 1), (BATCH, 1)]


def test_a_lost_first_record_is_no_evidence() -> None:
    assert settled(draft("loss", range(1, 9), lossy=True)) == [(BATCH, 0)]


def test_epochs_without_the_word() -> None:
    found = settled(
        draft("loss", range(5)),
        draft("loss", range(5), writer="test"),
        draft("accuracy", range(5), writer="test"),
        draft("lr", range(50)),
    )
    assert found == [(EPOCH, 0), (EPOCH, 0), (EPOCH, 0), (BATCH, 0)]


def test_validation_now_and_then_makes_no_epochs() -> None:
    found = settled(draft("loss", range(50)), draft("loss", [9, 19, 29], writer="test"))
    assert found == [(BATCH, 0), (BATCH, 0)]


def test_two_writers_one_step_apart_are_aligned_by_content() -> None:
    values = [5.0, 4.0, 3.0, 2.5, np.nan, np.nan]
    first = draft("loss", range(6), values, "logs/train")
    # Nothing but its values says that this one counts from 1: it began later.
    second = draft("loss", range(3, 7), values[2:], "tensorboard/train")
    other = draft("lr", range(3, 7), None, "tensorboard/train")
    assert [shift for _, shift in settled(first, second, other)] == [0, 0, 0]
    longer = [*values[:4], 2.25, 2.0, 1.75]
    first = draft("loss", range(7), longer, "logs/train")
    second = draft("loss", range(3, 8), longer[2:], "tensorboard/train")
    other = draft("lr", range(3, 8), None, "tensorboard/train")
    assert [shift for _, shift in settled(first, second, other)] == [0, 1, 1]
    assert [shift for _, shift in settled(second, first)] == [1, 0]


def test_alignment_needs_values_that_change() -> None:
    flat = [1.0] * 20
    found = settled(draft("loss", range(20), flat, "a"), draft("loss", range(5, 20), flat[5:], "b"))
    assert [shift for _, shift in found] == [0, 0]


def test_a_writer_that_logged_step_0_is_never_moved() -> None:
    values = list(np.linspace(3, 1, 20))
    late = draft("loss", range(20), [9.0, *values[:-1]], "b")
    assert [shift for _, shift in settled(draft("loss", range(20), values, "a"), late)] == [0, 0]


def test_keras_and_custom_batch_loss_agree_after_alignment() -> None:
    values = list(np.linspace(3, 1, 20))
    custom = draft("batch_loss", range(20), values, "logs/train")
    stock = draft("batch_loss", range(1, 21), values, "tensorboard/train")
    assert settled(custom, stock) == [(BATCH, 0), (BATCH, 1)]
    assert custom.index.tolist() == stock.index.tolist()


def test_an_estimator_counts_finished_batches() -> None:
    found = settled(
        draft("global_step/sec", [101, 201], writer="."),
        draft("loss", [1, 101, 201], writer="."),
        draft("loss", [250], writer="eval"),
        draft("epoch_loss", [1], writer="."),
    )
    assert found == [(BATCH, 1), (BATCH, 1), (BATCH, 1), (EPOCH, 0)]


def test_a_monitored_session_beside_another_writer() -> None:
    found = settled(
        draft("global_step/sec", [100], writer="run/a"),
        draft("loss", [10, 20], writer="run/a"),
        draft("loss", [10, 20], writer="run/ab"),
    )
    assert found == [(BATCH, 1), (BATCH, 1), (BATCH, 0)]
