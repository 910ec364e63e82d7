"""Which rows of a batch are guilty: real steps with planted culprits, in this process."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from forensics.replay.worker.case import entry, restore
from forensics.replay.worker.guilty_rows import rows
from forensics.replay.worker.stepping import state, stepper
from forensics.replay.worker.stepping.failure import Failure

pytestmark = pytest.mark.tf
tf: Any = pytest.importorskip("tensorflow")
keras: Any = pytest.importorskip("keras")

FAILING = 3


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Leave no variable of another test to be found by the garbage collector."""
    keras.utils.set_random_seed(1)
    yield
    keras.backend.clear_session()
    gc.collect()


def guilty(
    case: dict[str, Any],
    healthy: bool = True,
    traced: list[int] | None = None,
    losses: tuple[float, ...] = (),
    phase: str = "forward",
) -> dict[str, Any]:
    """Ask for the guilty rows of step 3; `healthy`: step 2 went well from the same state."""
    ready = entry.Case(case)
    everything = state.State(ready.restore)
    steps = stepper.Stepper(ready, everything)
    restore.build(ready, everything, steps, steps.batch(0))
    before = everything.snapshot()
    steps.own(steps.batch(0))
    everything.refresh()
    everything.load(before)
    outcome = steps.judge(steps.own(steps.batch(FAILING)), everything.bad(before))
    assert outcome.symptom is not None
    failure = Failure((FAILING, before, steps.batch(FAILING)), outcome, outcome.symptom)
    failure.losses = list(losses)
    if healthy:
        failure.healthy = before, steps.batch(FAILING - 1)
    if traced is not None:
        failure.found = SimpleFound(traced, phase)  # type: ignore[assignment]
    return rows.guilty_rows(ready, steps, failure, time.monotonic() + 600)


class SimpleFound:
    def __init__(self, rows: list[int], phase: str) -> None:
        self.rows, self.origin = rows, {"phase": phase}


def runs_of(found: dict[str, Any]) -> int:
    said = re.search(r"in (\d+) runs", " ".join(found["row_notes"]))
    assert said is not None, found
    return int(said.group(1))


def loop(loss: Callable[[Any, Any], Any], batch: Callable[[int], Any], *shape: int) -> Any:
    """Return a custom loop with one weight: the case of a function of the weight and the batch."""
    weight = tf.Variable(tf.ones(shape or (3, 1)), name="weight")

    @tf.function
    def step(data: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(weight, data)
        weight.assign_sub(1e-3 * tape.gradient(value, weight))
        return value

    return {"step": step, "batch": batch, "restore": {"weight": weight}}


def numbers(step: int, count: int = 64) -> Any:
    return np.random.default_rng(step).random((count, 3), np.float32) + 0.5


def planted(*culprits: int) -> Callable[[int], Any]:
    def batch(step: int) -> Any:
        x = numbers(step)
        if step == FAILING:
            x[list(culprits)] = 1e30
        return x

    return batch


def gram(weight: Any, x: Any) -> Any:
    """Overflow in a matrix that has no rows of the batch."""
    return tf.reduce_mean(tf.matmul(x, x, transpose_a=True)) * tf.reduce_mean(weight)


def test_three_culprits_of_64_are_told_apart() -> None:
    found = guilty(loop(gram, planted(5, 23, 41)))
    assert found["samples"] == [5, 23, 41]
    assert found["culprits"] == [[5], [23], [41]]
    assert found["minimal_batch"] == [5]
    assert found["collective"] is False
    assert runs_of(found) <= 40
    assert "copies of row" in found["row_notes"][0]


def test_rows_that_the_trace_named_are_confirmed_in_a_few_runs() -> None:
    found = guilty(loop(gram, planted(5, 23)), traced=[5, 23])
    assert (found["samples"], found["culprits"]) == ([5, 23], [[5], [23]])
    assert runs_of(found) == 5  # the batch, a filler, each row, the rest


def test_a_row_that_the_trace_named_wrongly_is_corrected() -> None:
    found = guilty(loop(gram, planted(5)), traced=[7])
    assert (found["samples"], found["culprits"]) == ([5], [[5]])


def test_no_other_batch_is_needed() -> None:
    case = loop(gram, lambda step: planted(9)(step) if step in (0, FAILING) else None)
    found = guilty(case, healthy=False)
    assert found["samples"] == [9]
    assert "its own row" in found["row_notes"][0]


def test_two_rows_that_fail_only_together() -> None:
    def batch(step: int) -> Any:
        x = numbers(step)
        if step == FAILING:
            x[10, 0] = x[52, 1] = 60.0
        return x

    def loss(weight: Any, x: Any) -> Any:
        return tf.exp(tf.reduce_max(x[:, 0]) + tf.reduce_max(x[:, 1])) * tf.reduce_sum(weight)

    found = guilty(loop(loss, batch))
    assert found["culprits"] == [[10, 52]]
    assert found["samples"] == found["minimal_batch"] == [10, 52]
    assert found["collective"] is False
    assert any("rows 10, 52 fail only together" in note for note in found["row_notes"])


@pytest.mark.parametrize("usual", [400.0, 1000.0])
def test_a_sum_in_half_precision_is_collective(usual: float) -> None:
    """With 1000 the sum of a healthy batch is just below the limit, and any row tips it over."""

    def batch(step: int) -> Any:
        noise = np.random.default_rng(step).random((64, 3))
        return (noise * 20 + (1500 if step == FAILING else usual)).astype(np.float16)

    def loss(weight: Any, x: Any) -> Any:
        total = tf.reduce_sum(x[:, 0])
        return tf.cast(total, tf.float32) * tf.reduce_mean(weight)

    found = guilty(loop(loss, batch))
    assert found["collective"] is True
    assert found["culprits"] == found["samples"] == []
    assert len(found["minimal_batch"]) > 8
    assert any("only many rows together fail" in note for note in found["row_notes"])


def test_a_mean_of_nothing_is_collective() -> None:
    def batch(step: int) -> Any:
        x = numbers(step, 16)
        return {"x": x, "valid": np.full(16, step != FAILING)}

    def loss(weight: Any, data: Any) -> Any:
        return tf.reduce_mean(tf.boolean_mask(data["x"] @ weight, data["valid"]))

    found = guilty(loop(loss, batch))
    assert found["collective"] is True
    assert found["minimal_batch"] == list(range(16))
    assert found["samples"] == []


def test_a_bad_weight_is_the_fault_of_no_row() -> None:
    case = loop(lambda w, x: tf.reduce_mean(x @ w + tf.math.log(w[0, 0] - 1.0)), numbers)
    found = guilty(case, traced=[0, 1])
    assert found["samples"] == found["culprits"] == found["minimal_batch"] == []
    assert found["collective"] is None
    assert found["row_notes"][0].startswith("no row makes the difference")


def test_values_that_are_bad_in_every_batch_stay_named() -> None:
    def batch(step: int) -> Any:
        return numbers(step, 4) * [[1.0, np.nan, 1.0]]

    case = loop(lambda w, x: tf.reduce_mean(tf.cast(x, tf.float32) @ w), batch)
    found = guilty(case, traced=[0, 1, 2, 3], phase="input")
    assert found["samples"] == [0, 1, 2, 3]
    assert found["row_notes"][0].startswith("no row makes the difference: from this")


def test_labels_that_raise_and_parts_in_a_dict() -> None:
    def batch(step: int) -> Any:
        y = np.zeros(12, np.int32)
        if step == FAILING:
            y[[4, 8]] = 7
        return {"in": {"x": numbers(step, 12).astype(np.float64)}, "y": y, "rate": 0.5}

    def loss(weight: Any, data: Any) -> Any:
        logits = tf.cast(data["in"]["x"], tf.float32) @ weight * data["rate"]
        return tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=data["y"], logits=logits)
        )

    found = guilty(loop(loss, batch, 3, 2))
    assert found["culprits"] == [[4], [8]]


def test_ragged_sparse_and_listed_parts() -> None:
    def batch(step: int) -> Any:
        rng = np.random.default_rng(step)
        words = [list(rng.random(1 + (row + step) % 3)) for row in range(8)]
        tags = np.zeros((8, 4), np.float32)
        tags[np.arange(8), rng.integers(0, 4, 8)] = 1.0
        if step == FAILING:
            words[2], tags[6] = [], 0.0
        return (
            tf.ragged.constant(words, dtype=tf.float32),
            tf.sparse.from_dense(tags),
            [float(row) for row in range(8)],
        )

    def loss(weight: Any, data: Any) -> Any:
        words, tags, times = data
        mean = tf.reduce_sum(words, axis=1) / tf.cast(words.row_lengths(), tf.float32)
        share = tf.stack(times) / tf.sparse.reduce_sum(tags, axis=1)
        return tf.reduce_sum(tf.stack([[tf.reduce_sum(mean), tf.reduce_sum(share)]]) @ weight)

    found = guilty(loop(loss, batch, 2, 1))
    assert found["culprits"] == [[2], [6]]


def test_time_may_be_the_first_axis() -> None:
    def batch(step: int) -> Any:
        x = np.random.default_rng(step).random((20, 8, 3), np.float32)
        if step == FAILING:
            x[7, 5] = 1e30
        return x, np.ones(8, np.float32)

    def loss(weight: Any, data: Any) -> Any:
        sums = tf.reduce_sum(tf.square(data[0]) @ weight, axis=0)[:, 0]
        return tf.reduce_mean(sums - data[1])

    assert guilty(loop(loss, batch), traced=[7])["samples"] == [5]


def test_batch_normalization_hides_a_row_that_is_left_alone() -> None:
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.BatchNormalization(name="bn"),
            keras.layers.Dense(1, name="d"),
        ]
    )
    model.compile("sgd", loss="mse")

    def batch(step: int) -> Any:
        return planted(11)(step), np.ones((64, 1), np.float32)

    found = guilty({"model": model, "batch": batch})
    assert found["culprits"] == [[11]]
    assert any("BatchNormalization" in note and "(bn)" in note for note in found["row_notes"])
    # what the note warns of: alone the same row passes
    model.train_on_batch(batch(FAILING)[0][11:12], np.ones((1, 1), np.float32))
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_a_fixed_batch_size_and_sample_weights() -> None:
    class Folded(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return tf.reshape(tf.reshape(x, (4, 4, 3)), (16, 3))

    model = keras.Sequential([keras.Input(batch_shape=(16, 3)), Folded(), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")

    def batch(step: int) -> Any:
        weights = np.ones(16, np.float32)
        if step == FAILING:
            weights[13] = 1e38
        return numbers(step, 16) * 100, np.zeros((16, 1), np.float32), weights

    found = guilty({"model": model, "batch": batch})
    assert found["culprits"] == [[13]]
    assert found["samples"] == [13]


def test_a_mirrored_model_in_its_own_mode() -> None:
    with tf.distribute.MirroredStrategy(["/cpu:0"]).scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.1), loss="mse")
    found = guilty({"model": model, "batch": lambda i: (planted(9)(i), numbers(i)[:, :1])})
    assert found["culprits"] == [[9]]


def test_most_rows_of_a_batch_fail_by_themselves() -> None:
    def batch(step: int) -> Any:
        x = numbers(step, 12)
        if step == FAILING:
            x[:8] = 1e30
        return x

    found = guilty(loop(gram, batch))
    assert found["samples"] == list(range(8))
    assert any("8 of the 12 rows make the step fail" in note for note in found["row_notes"])


def test_rows_of_a_divergence_are_only_the_first_to_overflow() -> None:
    grown = "these rows are only the first to overflow"
    for losses, expected in [((1.0, 1.2, 0.9, 1e7), True), ((1.0, 1.2, 0.9, 1.1), False)]:
        found = guilty(loop(gram, planted(5)), traced=[5], losses=losses)
        assert any(grown in note for note in found["row_notes"]) is expected
        assert found["samples"] == [5]


def test_bad_rows_in_every_batch() -> None:
    def batch(step: int) -> Any:
        x = numbers(step, 12)
        x[:3] = 1e-30
        return x

    case = loop(lambda w, x: tf.reduce_sum(tf.math.rsqrt(tf.square(x))) * tf.reduce_sum(w), batch)
    found = guilty(case, healthy=False)
    assert found["samples"] == [0, 1, 2]
    assert "rows of other batches make the step fail from this state too" in found["row_notes"]


def test_a_batch_of_one_row() -> None:
    def batch(step: int) -> Any:
        return np.full((1, 3), 1e30 if step == FAILING else 1.0, np.float32)

    found = guilty(loop(gram, batch), traced=[0])
    assert (found["samples"], found["culprits"]) == ([0], [[0]])


def test_parts_without_rows_are_said() -> None:
    def batch(step: int) -> Any:
        return np.float32(-1.0 if step == FAILING else 1.0)

    found = guilty(loop(lambda w, x: tf.math.log(x) * tf.reduce_mean(w), batch))
    assert found["row_notes"] == ["rows: the parts of the batch have no rows in common"]
    assert found["collective"] is None


def test_a_state_that_was_bad_before_and_a_divergence_are_not_asked() -> None:
    case = loop(gram, planted(5))
    ready = entry.Case(case)
    everything = state.State(ready.restore)
    steps = stepper.Stepper(ready, everything)
    outcome = steps.own(steps.batch(FAILING))
    failure = Failure((FAILING, everything.snapshot(), steps.batch(FAILING)), outcome, "diverged")
    found = rows.guilty_rows(ready, steps, failure, time.monotonic() + 600)
    assert "over many steps" in found["row_notes"][0]
    case["restore"]["weight"].assign(tf.fill((3, 1), np.nan))
    failure = Failure((FAILING, everything.snapshot(), steps.batch(FAILING)), outcome, "loss")
    found = rows.guilty_rows(ready, steps, failure, time.monotonic() + 600)
    assert "the state was bad before the step (weight" in found["row_notes"][0]
    assert found["samples"] == []


def test_the_time_ends() -> None:
    case = loop(gram, planted(5))
    ready = entry.Case(case)
    everything = state.State(ready.restore)
    steps = stepper.Stepper(ready, everything)
    before = everything.snapshot()
    outcome = steps.own(steps.batch(FAILING))
    failure = Failure((FAILING, before, steps.batch(FAILING)), outcome, "loss")
    found = rows.guilty_rows(ready, steps, failure, time.monotonic())
    assert found["row_notes"] == ["rows: no time left after 0 runs of the step"]
    assert everything.snapshot().likeness(before) == "bitwise"


def test_rows_that_belong_to_a_part_of_another_layout_are_not_exchanged() -> None:
    def batch(step: int) -> Any:
        lengths = np.random.default_rng(step).integers(1, 5, 6).astype(np.int32)
        if step == FAILING:
            lengths[2] = 0
        words = np.random.default_rng(step).random((int(lengths.sum()), 3), np.float32)
        return {"words": words, "lengths": lengths, "y": np.ones((6, 1), np.float32)}

    def mean_of_each(weight: Any, data: Any) -> Any:
        bags = tf.RaggedTensor.from_row_lengths(data["words"], data["lengths"])
        mean = tf.reduce_sum(bags, axis=1) / tf.cast(data["lengths"], tf.float32)[:, None]
        return tf.reduce_mean(tf.square(tf.matmul(mean, weight) - data["y"]))

    found = guilty(loop(mean_of_each, batch), traced=[2])
    assert found["samples"] == [2]
    assert found["culprits"] == [] and found["collective"] is None
    assert "words has no row for each row of the batch" in found["row_notes"][0]
