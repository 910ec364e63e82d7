"""Dating a failure from findings: steps, epochs, checkpoints, divergence."""

from __future__ import annotations

import math

import pytest

from forensics.detectors.registry import inspect
from forensics.detectors.scenes import checkpoint, curve, falling, run_of, tensor
from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.run import CheckpointStats, Run
from forensics.domain.scene import Scene
from forensics.pipeline.axis import on_batch_axis
from forensics.pipeline.target import BLIND_STEPS, Target, find_target


def target_of(run: Run) -> Target:
    return find_target(run, inspect(Scene(run)).findings)


def poisoned(step: int | None) -> CheckpointStats:
    return checkpoint(step, tensor("dense/kernel", nan=4))


def test_a_healthy_run_has_no_target() -> None:
    run = run_of(curve(falling(60)), checkpoints=[checkpoint(60, tensor("w"))])
    assert target_of(run) == Target()


def test_a_nan_loss_is_dated_with_the_step_before_it_in_the_interval() -> None:
    found = target_of(run_of(curve([*falling(30), math.nan, math.nan])))
    assert (found.symptom, found.step, found.interval) == ("non_finite", 30, (29, 30))
    assert found.tag == "train_loss"


def test_a_clean_checkpoint_raises_the_lower_end() -> None:
    loss = curve([*falling(30), math.nan])
    found = target_of(run_of(loss, checkpoints=[checkpoint(30, tensor("w"))]))
    assert found.interval == (30, 30)


def test_a_nan_at_the_first_step_has_an_interval_from_0() -> None:
    found = target_of(run_of(curve([math.nan] * 5)))
    assert (found.step, found.interval) == (0, (0, 0))


def test_a_poisoned_checkpoint_alone_gives_the_steps_since_the_clean_one() -> None:
    run = run_of(curve(falling(40)), checkpoints=[checkpoint(10), poisoned(20), poisoned(30)])
    found = target_of(run)
    assert (found.symptom, found.interval) == ("non_finite", (10, 19))
    assert found.tag == "dense/kernel"


def test_state_and_loss_narrow_each_other() -> None:
    sparse = curve([2.0, 1.5, math.nan])
    every_ten = type(sparse)(
        sparse.quantity, sparse.tag, ".", sparse.step_axis, sparse.steps * 10, sparse.values,
        sparse.wall_times,
    )  # fmt: skip
    found = target_of(run_of(every_ten, checkpoints=[checkpoint(5), poisoned(15)]))
    assert found.interval == (10, 14)


def test_a_poisoned_checkpoint_without_a_step_still_asks_for_a_search() -> None:
    run = run_of(curve(falling(40)), checkpoints=[poisoned(None)])
    found = target_of(run)
    assert (found.symptom, found.step, found.interval) == ("non_finite", None, None)
    assert found.search_interval(run) == (0, 39)


def test_a_gradient_norm_dates_the_failure_only_where_the_loss_does_not_contradict() -> None:
    loss = [*falling(30), math.nan, math.nan]
    norms = [1.0] * 29 + [math.inf, math.nan, math.nan]
    near = run_of(curve(loss), curve(norms, Quantity.GRADIENT_NORM))
    assert target_of(near).step == 29
    skipped = [math.inf, *norms[1:29], 1.0, math.nan, math.nan]
    far = run_of(curve(loss), curve(skipped, Quantity.GRADIENT_NORM))
    assert target_of(far).step == 30


def test_an_epoch_is_an_interval_over_its_batches_where_they_are_known() -> None:
    epochs = curve([1.0, 0.8, math.nan], tag="epoch_loss", axis=StepAxis.EPOCH)
    batches = curve(falling(60), tag="batch_loss")
    found = target_of(run_of(batches, epochs))
    assert (found.axis, found.step, found.interval) == (StepAxis.BATCH, None, (40, 59))


def test_an_epoch_stays_one_where_nothing_tells_its_batches() -> None:
    run = run_of(curve([1.0, 0.8, math.nan], tag="epoch_loss", axis=StepAxis.EPOCH))
    found = target_of(run)
    assert (found.axis, found.step, found.interval) == (StepAxis.EPOCH, 2, (2, 2))
    assert found.batch_step is None
    assert found.search_interval(run) == (0, BLIND_STEPS)


def test_a_divergence_has_a_limit_between_before_and_after() -> None:
    calm = falling(80, noise=0.01)
    blown = [*calm, *[0.5 * 3.0 ** (k + 1) for k in range(12)], *[2e5] * 20]
    run = run_of(curve(blown), checkpoints=[checkpoint(40)])
    found = target_of(run)
    assert found.symptom == "diverged"
    assert found.step is not None and abs(found.step - 80) <= 2
    assert found.loss_limit is not None and max(calm[40:]) <= found.loss_limit < 2e5


@pytest.mark.parametrize("offset", [-1, 3])
def test_an_offset_moves_batches_and_checkpoints_but_no_epochs(offset: int) -> None:
    epochs = curve([1.0, 0.9], tag="epoch_loss", axis=StepAxis.EPOCH)
    run = run_of(curve(falling(20), start=1), epochs, checkpoints=[checkpoint(10)])
    moved = on_batch_axis(run, offset)
    assert int(moved.series[0].steps[0]) == 1 + offset
    assert moved.series[0].shift == -offset
    assert moved.series[1].steps.tolist() == [0, 1]
    assert moved.checkpoint_stats[0].step == 10 + offset
