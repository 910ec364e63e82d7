"""Parts of a scan that need TensorFlow, in the process of the tests."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from forensics.replay.worker.case import entry, restore
from forensics.replay.worker.scanning.gradient_norm import gradient_norm
from forensics.replay.worker.scanning.scan_pass import (
    FAILING_KEPT,
    HEALTHY_KEPT,
    LARGEST_KEPT,
    ScanPass,
)
from forensics.replay.worker.stepping import state, stepper

pytestmark = pytest.mark.tf
tf: Any = pytest.importorskip("tensorflow")
keras: Any = pytest.importorskip("keras")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Leave no variable of another test to be found by the garbage collector."""
    keras.utils.set_random_seed(1)
    yield
    keras.backend.clear_session()
    gc.collect()


def prepared(case: dict[str, Any]) -> stepper.Stepper:
    ready = entry.Case(case)
    everything = state.State(ready.restore)
    steps = stepper.Stepper(ready, everything)
    restore.build(ready, everything, steps, steps.batch(0))
    return steps


def batch(step: int) -> Any:
    x = np.random.default_rng(step).random((4, 3), np.float32)
    return x, x.sum(axis=1, keepdims=True)


def true_norm(model: Any, data: Any) -> float:
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(data[0]) - data[1]))
    gradients = tape.gradient(loss, model.trainable_variables)
    return float(np.sqrt(sum(np.square(g).sum(dtype=np.float64) for g in gradients)))


@pytest.mark.parametrize("mode", [{}, {"jit_compile": True}, {"run_eagerly": True}])
def test_the_gradient_norm_is_that_of_the_step_in_every_mode(mode: dict[str, bool]) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.1), loss="mse", **mode)
    steps = prepared({"model": model, "batch": batch})
    before = steps.state.snapshot()
    assert steps.own(batch(1)).symptom is None
    names = {v.name for v in steps.state.variables}
    for number in (1, 2):
        steps.state.load(before)
        expected = true_norm(model, batch(number))
        with gradient_norm(steps) as norm:
            steps.state.refresh()
            assert {v.name for v in steps.state.variables} == names
            steps.own(batch(number))
            assert norm.take() == pytest.approx(expected, rel=1e-4)
            assert norm.take() == 0.0
    # afterwards nothing is measured any more
    steps.own(batch(1))
    assert norm.take() == 0.0


def test_a_pass_keeps_a_few_batches_and_the_state() -> None:
    def many(step: int) -> Any:
        x, y = batch(step)
        return (x * np.inf, y) if step % 10 == 0 and step else (x * (100 if step == 59 else 1), y)

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    steps = prepared({"model": model, "batch": many})
    before = steps.state.snapshot()
    with gradient_norm(steps) as norm:
        passed = ScanPass(steps, before, norm, time.monotonic() + 60)
        passed.run(60, lambda start, data: steps.own(data))
    assert passed.complete and len(passed.seen) == 60
    assert steps.state.snapshot().likeness(before) == "bitwise"
    assert [s.index for s in passed.ranked()[:6]] == [10, 20, 30, 40, 50, 59]
    assert (len(passed.failing), len(passed.healthy)) == (FAILING_KEPT, HEALTHY_KEPT)
    kept = [i for i in range(60) if passed.batch_of(i) is not None]
    assert len(kept) <= FAILING_KEPT + 2 * LARGEST_KEPT and {10, 20, 30, 59} <= set(kept)


def test_a_pass_stops_when_the_time_or_the_data_ends() -> None:
    def broken(step: int) -> Any:
        if step == 3:
            raise OSError("disk gone")
        return batch(step)

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    steps = prepared({"model": model, "batch": broken})
    with gradient_norm(steps) as norm:
        passed = ScanPass(steps, steps.state.snapshot(), norm, time.monotonic() + 60)
        passed.run(60, lambda start, data: steps.own(data))
        assert not passed.complete and len(passed.seen) == 3
        assert passed.trouble is not None and "disk gone" in passed.trouble
        late = ScanPass(steps, steps.state.snapshot(), norm, time.monotonic())
        late.run(60, lambda start, data: steps.own(data))
        assert not late.complete and late.seen == [] and late.trouble is None


def test_data_that_is_shuffled_anew_or_endless_is_known() -> None:
    weight = tf.Variable(1.0)
    rows = tf.data.Dataset.range(1000)

    def of(dataset: Any) -> stepper.Stepper:
        case = entry.Case({"step": lambda x: x, "dataset": dataset, "restore": {"w": weight}})
        return stepper.Stepper(case, state.State(case.restore))

    assert of(rows.shuffle(1000).batch(10)).reshuffled()
    once = rows.shuffle(1000, seed=1, reshuffle_each_iteration=False).batch(10)
    assert not of(once).reshuffled()
    assert len(list(of(once).once(7))) == 100
    assert len(list(of(once.repeat()).once(7))) == 7
    pinned = of(once)
    pinned.pin({4: "found"})
    assert pinned.batch(4) == "found" and len(pinned.batch(5)) == 10
