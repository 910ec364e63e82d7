"""Tensors are judged by the object graph: keys and prefixes may say something else."""

from __future__ import annotations

import pytest

from forensics.domain.run import TensorKind
from forensics.errors import Damaged
from forensics.sources.checkpoints.object_graph import Roles, parse_graph, roles
from tests.sources_checkpoints.encode import message, node, number

W, S, M, O = TensorKind.WEIGHT, TensorKind.SLOT, TensorKind.METRIC, TensorKind.OTHER  # noqa: E741


def judge(*nodes: bytes, integers: tuple[str, ...] = (), floats: tuple[str, ...] = ()) -> Roles:
    return roles(parse_graph(b"".join(nodes), "g"), frozenset(integers), frozenset(floats))


def test_keras_3_optimizer() -> None:
    found = judge(
        node({"optimizer": 1, "W": 7, "save_counter": 8}),
        node({"_variables": 2, "_trainable_variables": 3, "_iterations": 4, "_learning_rate": 5}),
        node({"0": 4, "1": 5, "2": 6}),
        node({"0": 7, "1": 9}),
        node(variable=("adam/iteration", "optimizer/_iterations")),
        node(variable=("adam/learning_rate", "optimizer/_learning_rate")),
        node(variable=("adam/W_momentum", "optimizer/_variables/2")),
        node(variable=("W", "W")),
        node(variable=("save_counter", "save_counter")),
        node(variable=("b", "optimizer/_trainable_variables/1")),
        integers=("optimizer/_iterations", "save_counter"),
    )
    assert found.kinds == {
        "optimizer/_iterations": O,
        "optimizer/_learning_rate": O,
        "optimizer/_variables/2": S,
        "W": W,
        "save_counter": O,
        "optimizer/_trainable_variables/1": W,
    }
    (optimizer,) = found.optimizers
    assert (optimizer.name, optimizer.iterations) == ("adam", "optimizer/_iterations")
    assert optimizer.learning_rate == "optimizer/_learning_rate"
    assert found.save_counter == "save_counter"


def test_a_schedule_leaves_slots_from_one_on() -> None:
    found = judge(
        node({"opt": 1}),
        node({"_variables": 2, "_trainable_variables": 3, "_iterations": 4}),
        node({"0": 4, "1": 5}),
        node(),
        node(variable=("sgd/iteration", "it")),
        node(variable=("sgd/momentum", "opt/_variables/1")),
    )
    assert found.kinds == {"it": O, "opt/_variables/1": S}
    assert found.optimizers[0].learning_rate is None


def test_keras_2_slots_and_metrics() -> None:
    found = judge(
        node({"model": 1, "optimizer": 5, "step": 9}),
        node({"layer-0": 2, "keras_api": 3}),
        node({"kernel": 4}),
        node({"metrics": 7}),
        node(variable=("d/kernel", "kernel")),
        node({"iter": 6, "learning_rate": 8}, slots=[(4, "m", 10)]),
        node(variable=("Adam/iter", "iter")),
        node({"0": 11}),
        node(variable=("Adam/lr", "lr")),
        node(variable=("step", "step")),
        node(variable=("Adam/d/kernel/m", "kernel/.OPTIMIZER_SLOT/m")),
        node({"total": 12, "count": 13}),
        node(variable=("total", "total")),
        node(variable=("count", "count")),
        integers=("iter", "step"),
    )
    assert found.kinds == {
        "kernel": W, "iter": O, "lr": O, "step": O, "kernel/.OPTIMIZER_SLOT/m": S,
        "total": M, "count": M,
    }  # fmt: skip
    assert found.step == "step"


def test_a_running_mean_is_a_metric_wherever_it_hangs() -> None:
    found = judge(
        node({"model": 1}),
        node({"seen": 2}),
        node({"total": 3, "count": 4}),
        node(variable=("t", "t")),
        node(variable=("c", "c")),
    )
    assert set(found.kinds.values()) == {M}


def test_the_best_loss_so_far_may_be_infinite() -> None:
    found = judge(
        node({"best_loss": 1, "loss_scale": 2, "score": 3}),
        node(variable=("v", "best_loss")),
        node(variable=("v", "loss_scale")),
        node({"kernel": 4}),
        node(variable=("v", "score/kernel")),
        floats=("best_loss", "loss_scale"),
    )
    assert found.kinds == {"best_loss": M, "loss_scale": W, "score/kernel": W}


def test_generators_and_counters_are_no_weights() -> None:
    found = judge(
        node({"rng": 1, "epoch": 3}),
        node({"_state_var": 2}),
        node(variable=("s", "rng/_state_var")),
        node(variable=("e", "epoch")),
        integers=("epoch",),
    )
    assert set(found.kinds.values()) == {O}


def test_loops_end() -> None:
    found = judge(node({"root": 0, "w": 1}), node({"parent": 0}, variable=("w", "w")))
    assert found.kinds == {"w": W}


@pytest.mark.parametrize(
    "graph",
    [
        message(1, message(1, number(1, 7))),
        message(1, b"\x0a\xff"),
        b"\xff" * 12,
        message(1, message(2, message(3, b"\xff\xfe"))),
        number(1, 3),
    ],
)
def test_damage_is_typed(graph: bytes) -> None:
    with pytest.raises(Damaged):
        parse_graph(graph, "g")


def test_an_empty_graph_has_no_roles() -> None:
    found = judge()
    assert (found.kinds, found.optimizers, found.step) == ({}, (), None)
