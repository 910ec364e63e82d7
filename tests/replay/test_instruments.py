"""The instruments beside the own trace, in the process of the tests."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from forensics.replay.worker import probes
from forensics.replay.worker.case import entry, restore
from forensics.replay.worker.localising import graph_health, numerics, scopes, traced_graphs
from forensics.replay.worker.localising.graph_health import Node
from forensics.replay.worker.stepping import (
    calls,
    candidates,
    modes,
    randomness,
    reproduce,
    state,
    stepper,
)
from forensics.replay.worker.stepping.stepper import eagerly
from forensics.replay.worker.tracing import programs
from forensics.replay.worker.tracing.as_compiled import ALONE, as_compiled

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


def prepared(case: entry.Case) -> stepper.Stepper:
    everything = state.State(case.restore)
    steps = stepper.Stepper(case, everything)
    restore.build(case, everything, steps, steps.batch(0))
    return steps


# -- private parts


def test_every_private_part_is_found_here_and_its_loss_is_said_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probes.forget()
    assert all(probes.part(name) is not None for name in probes.PROBES)
    assert probes.degradations() == []

    def gone() -> Any:
        raise ImportError("cannot import name 'op_callbacks'")

    monkeypatch.setattr(probes.PROBES[probes.OP_CALLBACKS], "find", gone)
    probes.forget()
    assert probes.part(probes.OP_CALLBACKS) is None
    (said,) = probes.degradations()
    assert said.startswith("op_callbacks is not in this version (cannot import name")
    assert "named by a debug dump or by enable_check_numerics instead" in said
    probes.forget()


# -- modes


def test_the_mode_of_a_step_is_what_it_calls() -> None:
    @tf.function
    def as_graph(x: Any) -> Any:
        return x + 1.0

    @tf.function(jit_compile=True)
    def as_jit(x: Any) -> Any:
        return x + 2.0

    @tf.function
    def outer(x: Any) -> Any:
        return as_jit(x)

    kept = as_graph.get_concrete_function(tf.TensorSpec(()))
    one = tf.constant(1.0)
    found = {}
    steps: dict[str, Callable[[], Any]] = {
        "graph": lambda: as_graph(one),
        "jit": lambda: as_jit(one),
        "jit within": lambda: outer(one),
        "kept": lambda: kept(one),
        "eager": lambda: one + 1.0,
        "library": lambda: tf.vectorized_map(lambda x: x * 2.0, tf.ones(3)),
    }
    for name, step in steps.items():
        with calls.watching() as watched:
            step()
        found[name] = watched.mode()
    assert found == {
        "graph": "graph",
        "jit": "jit",
        "jit within": "jit",
        "kept": "graph",
        "eager": "eager",
        "library": "eager",
    }


def test_jit_is_off_within_and_on_again_after() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=True)

    @tf.function(jit_compile=True)
    def step(x: Any) -> Any:
        return tf.reduce_sum(x)

    def batch(number: int) -> Any:
        return np.ones((2, 2), np.float32), np.ones((2, 1), np.float32)

    def mode() -> list[str | None]:
        with calls.watching() as of_model:
            steps.own(steps.batch(0))
        with calls.watching() as of_step:
            step(tf.ones(2))
        return [of_model.mode(), of_step.mode()]

    steps = prepared(entry.Case({"model": model, "batch": batch}))
    assert mode() == ["jit", "jit"]
    with modes.without_jit(steps):
        assert mode() == ["graph", "graph"]
    assert mode() == ["jit", "jit"]


def test_xla_is_asked_to_warn_of_nan_on_a_gpu_only_where_it_compiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    for jit, device, said in ((False, "GPU x", False), (True, "CPU", False), (True, "GPU x", True)):
        model.compile("sgd", "mse", jit_compile=jit)
        case = entry.Case({"model": model, "batch": str})
        steps = stepper.Stepper(case, state.State(case.restore))
        assert (modes.detect_nan_on_gpu(steps, device) is not None) == said
    assert os.environ["XLA_FLAGS"] == "--xla_dump_to= --xla_gpu_detect_nan=warning"


# -- ops that cannot be repeated


def test_random_ops_are_found_in_nested_functions_and_seeded_ones_are_not() -> None:
    generator = tf.random.Generator.from_seed(1)

    @tf.function
    def noise() -> Any:
        return tf.random.normal((2,))

    @tf.function
    def step() -> Any:
        seeded = tf.random.stateless_normal((2,), (1, 2)) + generator.normal((2,))
        called = tf.numpy_function(lambda: np.float32(1.0), [], tf.float32)
        return tf.map_fn(lambda x: x + noise()[0], seeded) + called

    with calls.watching() as watched:
        step()
    assert randomness.of_graphs(watched.graphs()) == ["PyFunc", "RandomStandardNormal"]


# -- graphs whose tensors were looked at


def test_births_are_bad_outputs_of_healthy_inputs_and_carriers_make_none() -> None:
    nodes = [
        Node("x", "Placeholder", []),
        Node("log", "Log", [("x", 0)]),
        Node("same", "Identity", [("log", 0)]),
        Node("mask", "Select", [("same", 0)]),
        Node("root", "Sqrt", [("x", 0)]),
        Node("sum", "AddV2", [("root", 0), ("mask", 0)]),
        Node("keep", "AssignVariableOp", [("x", 0), ("sum", 0)]),
    ]
    bits = {("log", 0): 4, ("root", 0): 1, ("sum", 0): 1}
    bits = graph_health.completed(nodes, bits)
    assert bits["same", 0] == 4
    assert [(n.name, slot) for n, slot in graph_health.births(nodes, bits)] == [
        ("log", 0),
        ("root", 0),
    ]
    ends = frozenset({"out"})
    assert graph_health.reached(nodes, bits, "root", ends) == ["root", "sum", "keep"]
    # the mask lets nothing through
    assert graph_health.reached(nodes, bits, "log", ends) == []


def test_scopes_tell_the_phase_and_symbolic_gradients_their_op() -> None:
    for name, phase in {
        "net_1/dense_1/MatMul": "forward",
        "compile_loss/mse/Square": "loss",
        "gradient_tape/compile_loss/mse/Mul": "backward",
        "PartitionedCall/gradients/Log_1_grad/mul": "backward",
        "adam/Sqrt_1": "optimizer",
        "StatefulPartitionedCall/while/Log": "forward",
    }.items():
        assert scopes.phase_of_scopes(scopes.scopes_of(name)) == phase
    assert scopes.scopes_of("StatefulPartitionedCall/while/body/dense/Log") == ["dense"]


def test_the_line_of_an_op_is_the_users_and_a_restored_one_has_none() -> None:
    stack = [(__file__, 1, "main", ""), (__file__, 7, "call", ""), (np.__file__, 3, "log", "")]
    line = traced_graphs.line_of(stack)
    assert line is not None and (line["line"], line["function"]) == (7, "call")
    loaded = [*stack, ("/x/tensorflow/python/saved_model/load.py", 5, "load", "")]
    assert traced_graphs.line_of(loaded) is None


# -- ops compiled by themselves


def test_programs_run_ops_with_lists_attributes_and_several_outputs() -> None:
    from tensorflow.python.framework import op_callbacks

    seen: dict[str, tuple[programs.Executed, Any]] = {}

    def note(op_type: Any, inputs: Any, attrs: Any, outputs: Any, name: Any = None,
             graph: Any = None) -> None:  # fmt: skip
        op = op_type.decode() if isinstance(op_type, bytes) else op_type
        seen[op] = programs.Executed(op, attrs, list(inputs)), list(outputs)

    x = tf.reshape(tf.range(12.0), (3, 4))
    op_callbacks.add_op_callback(note)
    try:
        tf.concat([x, x], 0)
        tf.split(x, 2, axis=1)
        tf.reduce_sum(x, axis=1, keepdims=True)
        tf.cast(x, tf.float16)
        tf.matmul(x, x, transpose_b=True)
    finally:
        op_callbacks.remove_op_callback(note)
    for name in ("ConcatV2", "Split", "Sum", "Cast", "MatMul"):
        executed, outputs = seen[name]
        program = programs.Program(executed, {}, 1)
        for jit in (True, False):
            found = program.compiled(jit)(*program.given)
            assert [t.dtype for t in found] == [t.dtype for t in outputs]
            for one, other in zip(found, outputs, strict=True):
                np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5)
    assert not programs.is_pure("AssignVariableOp") and not programs.is_pure("RandomUniform")


def test_only_a_bad_compiled_answer_replaces_a_finite_one() -> None:
    with eagerly(tf), as_compiled(True, ALONE) as compiled:
        root = tf.raw_ops.SqrtGrad(y=tf.constant([0.0, 4.0]), dy=tf.constant([0.0, 1.0]))
        doubled = tf.constant([1.0, 2.0]) * 2.0
        bad = tf.math.log(tf.constant([0.0]))
    assert np.isnan(root.numpy()).tolist() == [True, False]
    assert doubled.numpy().tolist() == [2.0, 4.0] and np.isneginf(bad.numpy()).all()
    assert compiled.replaced == ["SqrtGrad"] and compiled.in_time


# -- enable_check_numerics


def test_the_numerics_check_leaves_nothing_behind(tmp_path: Path) -> None:
    weight = tf.Variable(tf.ones((2, 1)))

    @tf.function(input_signature=[tf.TensorSpec((None, 2))])
    def step(x: Any) -> Any:
        loss = tf.reduce_mean(tf.math.log(x @ weight))
        weight.assign_sub(0.0 * weight * loss)
        return loss

    steps = prepared(
        entry.Case(
            {
                "step": step,
                "batch": lambda number: tf.zeros((3, 2)),
                "restore": {"weight": weight},
            }
        )
    )
    before, batch = steps.state.snapshot(), steps.batch(0)
    # traced before the check is on, as after a `fit`: it is traced anew
    assert steps.own(batch).symptom == "loss"
    steps.state.load(before)
    failure: Any = SimpleNamespace(before=before, batch=batch)
    outcome = numerics.checked(steps, failure)
    found = numerics.parse(str(outcome.error))
    assert found is not None and found["op_type"] == "Log"
    # the step that raised has applied its updates, or may have: the state is as before
    assert steps.state.snapshot().likeness(before) == "bitwise"
    # a stale trace would raise here
    assert steps.own(batch).symptom == "loss"
    holder = tf.Module()
    holder.step, holder.weight = step, weight
    tf.saved_model.save(holder, str(tmp_path))
    graph = (tmp_path / "saved_model.pb").read_bytes()
    assert b"Log" in graph and b"CheckNumerics" not in graph and b"DebugNumeric" not in graph


def test_why_the_numerics_check_says_something_else() -> None:
    def notes(found: str | None, mode: str = "graph", **answer: Any) -> str:
        beside = numerics.Beside.__new__(numerics.Beside)
        beside._answer, beside.notes = answer, []
        beside.found = None if found is None else {"op_type": found, "op_name": found}
        if beside.found is None:
            healthy: Any = SimpleNamespace(error=None)
            beside._silent(healthy, SimpleNamespace(outcome=healthy), mode)  # type: ignore[arg-type]
        else:
            beside._compare(beside.found)
        return " ".join(beside.notes)

    def origin(op: str | None, **fields: Any) -> dict[str, Any]:
        base = {"op_type": op, "phase": "forward", "input": None, "dtype": "float32"}
        return {**base, **fields}

    masked = [{"op_type": "Log"}]
    assert "which does no harm here" in notes("Log", origin=origin("Sqrt"), benign=masked)
    assert "carries no checks" in notes("__inference_f_9", origin=origin("Log"))
    assert "not at the batch" in notes("MatMul", origin=origin(None, input={"name": "x"}))
    assert "when it is read" in notes("ReadVariableOp", origin=origin("AssignSubVariableOp"))
    assert "is a consequence" in notes("Sub", origin=origin("Log"), chain=["Log_1", "Sub_4"])
    assert "complex numbers" in notes(None, origin=origin("Log", dtype="complex64"))
    assert "the assignment itself" in notes(None, origin=origin("AssignAddVariableOp"))
    assert "cannot be used with XLA" in notes(None, "jit", origin=origin("SqrtGrad"))
    assert notes("Log", origin=origin("Log")) == ""


# -- what differs from the run


def test_a_shuffle_is_found_at_any_stage() -> None:
    plain = tf.data.Dataset.range(8).batch(2).map(lambda x: x + 1).prefetch(1)
    assert not candidates.shuffles(plain)
    shuffled = tf.data.Dataset.range(8).shuffle(8)
    assert candidates.shuffles(shuffled.batch(2).prefetch(1))
    assert candidates.shuffles(tf.data.Dataset.zip((plain, shuffled)))


# -- repeating a step


def test_a_step_that_fails_now_and_then_is_repeated_k_of_n() -> None:
    """Every third call fails; the state differs by rounding."""
    weight, calls_made = tf.Variable(tf.ones(2)), [0]

    def step(x: Any) -> Any:
        calls_made[0] += 1
        weight.assign_add(tf.fill([2], 1e-8 * calls_made[0]))
        return x * (np.nan if calls_made[0] % 3 == 0 else 1.0)

    steps = prepared(
        entry.Case({"step": step, "batch": lambda n: np.ones(1), "restore": {"weight": weight}})
    )
    calls_made[0] = 2
    before = steps.state.snapshot()
    failure: Any = SimpleNamespace(
        before=before, batch=steps.batch(0), outcome=steps.own(steps.batch(0)), symptom="loss"
    )
    found = reproduce.Repeater(steps, failure, "CPU", None, time.monotonic() + 600).run()
    (attempt,) = found.attempts
    assert (attempt["mode"], attempt["outcome"]) == ("eager", "loss is NaN")
    # the one that was met, then calls 4 to 12
    assert (attempt["times_reproduced"], attempt["times_run"]) == (4, 10)
    assert found.determinism == "tolerance"
    assert found.random_ops == [] and not found.jit_only


def test_an_op_that_does_no_harm_is_not_accused_by_the_numerics_check_alone() -> None:
    beside = numerics.Beside.__new__(numerics.Beside)
    beside.found = {"op_type": "Log", "op_name": "net/mask/Log", "message": "!!!"}
    beside.notes = []
    beside._case = entry.Case({"step": print, "batch": str})
    beside._answer = {"benign": [{"op_type": "Log", "op_name": "Log_3", "reason": "masked"}]}
    assert beside.stand_in() is None
    assert "stops at `Log`, whose bad values do no harm" in beside.notes[0]

    beside._answer = {"benign": []}
    origin = beside.stand_in()
    assert origin is not None and origin["op_type"] == "Log"
