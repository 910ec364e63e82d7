"""The layers table of a traced step, in models of several kinds."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from forensics.replay.worker.case import entry, restore
from forensics.replay.worker.localising import localise
from forensics.replay.worker.observing import observe
from forensics.replay.worker.stepping import state, stepper
from forensics.replay.worker.tracing.tally import SIGMOID, Tally

pytestmark = pytest.mark.tf
tf: Any = pytest.importorskip("tensorflow")
keras: Any = pytest.importorskip("keras")


def observed(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Rows of the layers table at the second step, by layer."""
    case = entry.Case(given)
    everything = state.State(case.restore)
    steps = stepper.Stepper(case, everything)
    everything.load(restore.build(case, everything, steps, steps.batch(0)))
    assert steps.own(steps.batch(0)).symptom is None
    everything.refresh()
    before, batch = everything.snapshot(), steps.batch(1)
    trace, outcome = localise.Localiser(steps, before, batch, None).trace(before, batch)
    assert outcome.symptom is None
    steps.own(batch)
    rows = observe.layers(case, everything, trace, before, everything.snapshot())
    return {row["name"]: row for row in rows}


@pytest.fixture(autouse=True)
def fresh() -> None:
    keras.backend.clear_session()
    gc.collect()
    keras.utils.set_random_seed(1)


def rng(step: int) -> Any:
    return np.random.default_rng(step)


def test_a_tally_holds_the_numbers_and_not_the_array() -> None:
    array = np.asarray([[0.0, -3.0, np.nan], [np.inf, 1.0, -np.inf]], np.float16)
    seen = Tally(array)
    assert (seen.nan, seen.inf, seen.max_abs) == (1, 2, 3.0)
    assert seen.mean == pytest.approx(-2 / 3)
    assert seen.zero_fraction == pytest.approx(1 / 6)
    big = Tally(np.full((3, 1 << 20), 2.0, np.float32))
    assert big.squares == pytest.approx(4 * 3 * (1 << 20))
    assert big.beyond[SIGMOID] == 1.0


def test_layers_of_a_mixed_precision_model_in_the_order_of_the_step() -> None:
    kl = keras.layers
    policy = {"dtype": "mixed_float16"}
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            kl.Conv2D(4, 3, activation="relu", name="conv", **policy),
            kl.BatchNormalization(name="norm", **policy),
            kl.GlobalAveragePooling2D(name="pool", **policy),
            kl.Dense(
                3, "sigmoid", kernel_initializer=keras.initializers.Constant(99.0), name="out"
            ),
        ],
        name="net",
    )
    model.compile(keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")

    def batch(step: int) -> Any:
        return rng(step).random((4, 8, 8, 3), np.float32) - 0.5, np.arange(4) % 3

    rows = observed({"model": model, "batch": batch})
    assert list(rows) == ["net/conv", "net/norm", "net/pool", "net/out"]
    assert rows["net/conv"]["kind"] == "Conv2D" and rows["net/conv"]["activation"] == "relu"
    assert 0.0 < rows["net/conv"]["zero_fraction"] < 1.0
    for name in ("net/conv", "net/norm", "net/out"):
        row = rows[name]
        assert row["gradient_norm"] > 0 or name == "net/out"
        assert row["weight_norm"] > 0 and row["nan"] == row["inf"] == 0
    # plain gradient descent: the update is the rate times the gradient
    conv = rows["net/conv"]
    assert conv["update_ratio"] == pytest.approx(
        0.1 * conv["gradient_norm"] / conv["weight_norm"], rel=0.05
    )
    assert rows["net/out"]["saturated_fraction"] > 0.5
    assert rows["net/pool"]["gradient_norm"] is None


def test_layers_within_layers_are_described() -> None:
    kl = keras.layers
    inputs = keras.Input((5,))
    x = kl.Embedding(20, 8, name="words")(inputs)
    x = kl.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = kl.Bidirectional(kl.LSTM(4), name="both")(x)
    model = keras.Model(inputs, kl.Dense(1, name="out")(x), name="net")
    model.compile("adam", loss="mse")

    def batch(step: int) -> Any:
        return rng(step).integers(0, 20, (4, 5)), rng(step).random((4, 1), np.float32)

    rows = observed({"model": model, "batch": batch})
    cells = [row for name, row in rows.items() if name.endswith("lstm_cell")]
    assert [c["kind"] for c in cells] == ["LSTMCell"] * 2
    assert all(c["activation"] == "tanh" and c["gradient_norm"] > 0 for c in cells)
    query = next(row for name, row in rows.items() if name.endswith("attention/query"))
    assert query["weight_norm"] > 0
    assert query["activation_std"] > 0
    assert next(row for name, row in rows.items() if name.endswith("words"))["gradient_norm"] > 0


def test_a_loop_of_its_own_with_weights_outside_of_layers() -> None:
    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = keras.layers.Dense(4, "relu"), keras.layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.two(self.one(x))

    # eager: as a graph this very step gave one of two results, about once in ten runs
    net, scale = Net(), tf.Variable(tf.ones((1,)), name="scale")
    optimizer = keras.optimizers.SGD(0.1)

    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(net(x) * scale)
        slopes = tape.gradient(loss, [*net.trainable_variables, scale])
        optimizer.apply_gradients(list(zip(slopes[:-1], net.trainable_variables, strict=True)))
        scale.assign_sub(0.1 * slopes[-1])
        return loss

    def batch(step: int) -> Any:
        return rng(step).random((4, 3), np.float32)

    given = {"step": step, "batch": batch, "restore": {"n": net, "o": optimizer, "s": scale}}
    rows = observed(given)
    assert [n.split("/")[-1] for n in list(rows)[:2]] == ["dense", "dense_1"]
    for row in rows.values():
        assert row["gradient_norm"] is not None and row["weight_norm"] > 0
    scale_row = rows["scale"]
    assert scale_row["update_ratio"] == pytest.approx(
        0.1 * scale_row["gradient_norm"] / scale_row["weight_norm"], rel=1e-2
    )
