"""Parts of the worker that need TensorFlow, in the process of the tests."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from forensics.replay.worker.case import entry, restore
from forensics.replay.worker.localising import localise
from forensics.replay.worker.observing import observe
from forensics.replay.worker.stepping import state, stepper
from forensics.replay.worker.tracing import listening
from forensics.replay.worker.tracing.trace import Trace

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


def compiled(loss: str = "mse") -> Any:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="d")], name="net")
    model.compile(keras.optimizers.Adam(0.1), loss=loss, metrics=["mae"])
    return model


def batch(step: int) -> Any:
    rng = np.random.default_rng(step)
    return rng.random((4, 3), np.float32), rng.random((4, 2), np.float32)


def prepared(case: entry.Case) -> stepper.Stepper:
    everything = state.State(case.restore)
    steps = stepper.Stepper(case, everything)
    restore.build(case, everything, steps, steps.batch(0))
    return steps


def test_a_step_from_a_snapshot_ends_in_the_same_state_bit_by_bit() -> None:
    model = compiled()
    steps = prepared(entry.Case({"model": model, "batch": batch}))
    before, afters = steps.state.snapshot(), []
    for _ in range(2):
        steps.state.load(before)
        assert steps.own(steps.batch(0)).symptom is None
        afters.append(steps.state.snapshot())
    assert afters[0].likeness(afters[1]) == "bitwise"
    assert afters[0].likeness(before) == "none"
    steps.state.load(before)
    assert steps.state.snapshot().likeness(before) == "bitwise"
    assert int(model.optimizer.iterations) == 0


def test_a_snapshot_holds_the_generators_of_python_and_numpy() -> None:
    everything = state.State({})
    before = everything.snapshot()
    drawn = random.random(), float(np.random.rand())
    everything.load(before)
    assert (random.random(), float(np.random.rand())) == drawn


def test_likeness_tells_rounding_from_difference() -> None:
    one, near, far = (
        state.Snapshot({1: np.asarray([1.0 + d, np.nan], np.float32)}) for d in (0, 1e-7, 1e-3)
    )
    assert one.likeness(near) == "tolerance"
    assert one.likeness(far) == "none"
    assert one.likeness(state.Snapshot({})) == "none"


def test_variables_carry_the_roles_and_names_that_the_user_knows() -> None:
    raw = tf.Variable([1.0], name="raw")
    model = compiled()
    steps = prepared(entry.Case({"model": model, "batch": batch, "restore": {"raw": raw}}))
    roles = {v.name: v.role for v in steps.state.variables}
    assert roles["net/d/kernel"] == roles["raw"] == state.WEIGHT
    assert roles["adam/net_d_kernel_velocity"] == roles["adam/iteration"] == state.SLOT
    assert state.METRIC in roles.values()
    raw.assign([np.inf])
    for metric in model.metrics:
        for variable in metric.variables:
            variable.assign(variable * np.nan)
    assert list(steps.state.bad()) == ["raw"]


def test_variables_born_in_a_first_step_start_from_their_first_values() -> None:
    layer, optimizer = keras.layers.Dense(2, name="late"), keras.optimizers.Adagrad(0.1)

    @tf.function
    def step(data: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(layer(data[0])))
        optimizer.apply(tape.gradient(loss, layer.trainable_variables), layer.trainable_variables)
        return loss

    case = entry.Case({"step": step, "batch": batch, "restore": {"l": layer, "o": optimizer}})
    everything = state.State(case.restore)
    steps = stepper.Stepper(case, everything)
    built = restore.build(case, everything, steps, steps.batch(0))
    assert layer.built and optimizer.built
    assert int(optimizer.iterations) == 0
    slot = next(v for v in everything.variables if "late_kernel" in v.name)
    assert np.all(built.values[slot.key] == np.float32(0.1))  # Adagrad does not start at zero
    losses = []
    for _ in range(2):
        everything.load(built)
        losses.append(steps.own(steps.batch(0)).loss)
    assert losses[0] == losses[1]


@pytest.mark.parametrize("kind", ["plain", "signature", "method", "object"])
def test_a_changed_setting_takes_effect_in_every_kind_of_function(kind: str) -> None:
    factor = {"value": 1.0}

    class Thing:
        @tf.function
        def call(self, x: Any) -> Any:
            return x * factor["value"]

        __call__ = call

    def body(x: Any) -> Any:
        return x * factor["value"]

    functions = {
        "plain": tf.function(body),
        "signature": tf.function(body, input_signature=[tf.TensorSpec([1], tf.float32)]),
        "method": Thing().call,
        "object": Thing(),
    }
    function, one = functions[kind], tf.constant([1.0])
    steps = stepper.Stepper(entry.Case({"step": function, "batch": str}), state.State({}))
    assert float(function(one)[0]) == 1.0
    factor["value"] = 2.0
    steps.retrace()
    assert float(function(one)[0]) == 2.0


def test_a_trace_leaves_nothing_behind_when_the_step_raises() -> None:
    def step(data: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(data)
        tape.gradient(loss, data)
        raise RuntimeError("no")

    from tensorflow.python.framework import op_callbacks

    optimizer = keras.optimizers.SGD()
    optimizer.build([keras.Variable([1.0])])
    before = tf.GradientTape.gradient, keras.optimizers.SGD.apply
    steps = stepper.Stepper(entry.Case({"step": step, "batch": str}), state.State({}))
    with listening.listening(Trace(steps.state)):
        outcome = steps.eager(tf.ones(3))
    assert isinstance(outcome.error, RuntimeError)
    assert (tf.GradientTape.gradient, keras.optimizers.SGD.apply) == before
    assert not tf.config.functions_run_eagerly()
    assert not op_callbacks.should_invoke_op_callbacks()


def test_an_error_of_the_trace_is_not_one_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, *args: Any) -> None:
        raise KeyError("phase")

    monkeypatch.setattr(Trace, "_op", broken)
    steps = stepper.Stepper(entry.Case({"step": tf.reduce_sum, "batch": str}), state.State({}))
    trace = Trace(steps.state)
    with listening.listening(trace):
        outcome = steps.eager(tf.ones(3))
    assert (outcome.error, outcome.loss) == (None, 3.0)
    assert trace.troubles and "KeyError" in trace.troubles[0]


def test_batches_reach_a_model_in_the_shape_and_precision_of_fit() -> None:
    x, y = np.zeros((2, 3)), np.zeros(2, np.int64)
    packed = stepper.packed([x, y, None])
    assert isinstance(packed, tuple) and len(packed) == 2
    assert packed[0].dtype == np.float32 and packed[1].dtype == np.int64
    assert stepper.packed({"a": x})["a"].dtype == np.float32
    assert localise.batch_rows(packed) == 2


def test_a_step_written_for_numpy_is_traced_with_numpy() -> None:
    weight = tf.Variable([0.0], name="weight")

    def step(x: Any) -> Any:
        x = x.copy()  # no tensor has it
        loss = tf.reduce_sum(tf.math.log(weight * x))
        weight.assign_add([1.0])
        return loss

    ones = np.ones(3, np.float32)
    case = entry.Case({"step": step, "batch": lambda i: ones, "restore": {"w": weight}})
    steps = stepper.Stepper(case, state.State(case.restore))
    before = steps.state.snapshot()
    failed = steps.judge(steps.own(ones))
    found = localise.Localiser(steps, before, ones, None).run(failed)
    assert failed.symptom == "loss"
    # nothing that training keeps took the value: only the loss that was returned did
    assert found.eager_outcome.symptom == "loss"
    assert [r.op_type for r in found.trace.records.values()] == ["Log"]
    assert found.origin is not None and found.origin["op_type"] == "Log"


def test_a_checkpoint_of_something_else_does_not_fit(tmp_path: Any) -> None:
    path = tf.train.Checkpoint(net=tf.Variable([1.0])).write(str(tmp_path / "ckpt-1"))
    weight = tf.Variable([2.0])
    case = entry.Case({"step": print, "batch": str, "restore": {"weight": weight}})
    everything = state.State(case.restore)
    with pytest.raises(restore.RestoreError, match=r"it holds net, .*the case restores weight"):
        restore.restore(case, everything, path, "tensor_bundle", 1)
    (tmp_path / "broken.weights.h5").write_bytes(b"no hdf5")
    model = compiled()
    prepared(entry.Case({"model": model, "batch": batch}))
    case = entry.Case({"model": model, "batch": batch})
    with pytest.raises(restore.RestoreError, match="file signature not found"):
        restore.restore(case, everything, str(tmp_path / "broken.weights.h5"), "weights_h5", 1)
    assert float(weight[0]) == 2.0


@pytest.mark.parametrize("method", ["write", "save"])
def test_a_tensor_bundle_is_restored_however_it_was_written(tmp_path: Any, method: str) -> None:
    weight, extra = tf.Variable([2.0]), tf.Variable([5.0])
    path = getattr(tf.train.Checkpoint(weight=weight), method)(str(tmp_path / "ckpt"))
    weight.assign([3.0])
    for held, notes in (({"weight": weight}, 0), ({"weight": weight, "extra": extra}, 1)):
        weight.assign([3.0])
        case = entry.Case({"step": print, "batch": str, "restore": held})
        said = restore.restore(case, state.State(held), path, "tensor_bundle", 1)
        assert len(said) == notes
        assert (float(weight[0]), float(extra[0])) == (2.0, 5.0)


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ([], ("sigmoid", 2)),
        (["softmax"], ("softmax", 2)),
        (["activation"], ("tanh", 2)),
        (["lambda"], (None, None)),
        (["flatten"], (None, None)),
    ],
)
def test_the_last_activation_is_that_of_the_very_last_layer(tail: list[str], expected: Any) -> None:
    layers = {
        "softmax": keras.layers.Softmax(),
        "activation": keras.layers.Activation("tanh"),
        "lambda": keras.layers.Lambda(keras.ops.softmax, name="own"),
        "flatten": keras.layers.Flatten(),
    }
    body = [keras.Input((3,)), keras.layers.Dense(2, activation="sigmoid")]
    model = keras.Sequential(body + [layers[name] for name in tail])
    model.compile("sgd", loss="mse")
    case = entry.Case({"model": model, "batch": batch})
    found = observe.config(case, state.State(case.restore), batch(0))
    assert (found["last_activation"], found["output_units"]) == expected
    # a reader of the list must not take an earlier layer for the last one either
    assert found["activations"][-1]["activation"] == expected[0]
