"""What a graph says about a run: optimizer, learning rate, loss, activations, precision."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest

from forensics.errors import Damaged
from forensics.sources.graphs.graph_def import MAX_NODES, read_graphs
from forensics.sources.graphs.optimizer_ops import _OPS
from forensics.sources.graphs.settings import settings_of_graphs
from forensics.sources.logdir import read
from tests.sources import event_writer as ew
from tests.sources_checkpoints.encode import message, number

DATA = Path(__file__).resolve().parents[1] / "data" / "saved_models"
FLOAT, HALF, BFLOAT16 = 1, 19, 14


def attribute(name: str, value: bytes) -> bytes:
    return message(5, message(1, name) + message(2, value))


def kind(name: str, dtype: int) -> bytes:
    return attribute(name, number(6, dtype))


def node(name: str, op: str, inputs: tuple[str, ...] = (), *attributes: bytes) -> bytes:
    body = message(1, name) + message(2, op) + b"".join(message(3, i) for i in inputs)
    return message(1, body + b"".join(attributes))


def const(name: str, value: float) -> bytes:
    tensor = number(1, FLOAT) + message(2, b"") + message(4, struct.pack("<f", value))
    return node(name, "Const", (), kind("dtype", FLOAT), attribute("value", message(8, tensor)))


def function(name: str, *nodes: bytes) -> bytes:
    body = message(1, message(1, name))
    for item in nodes:
        body += message(3, item[1 + (2 if item[1] & 0x80 else 1) :])
    return message(2, message(1, body))


def told(*nodes: bytes) -> dict[str, object]:
    data = b"".join(nodes)
    return settings_of_graphs(read_graphs(data, (0, len(data)), "g"), "g")


MOMENTUM = ("w", "slot", "rate", "grad", "momentum")


def test_an_optimizer_and_its_rate() -> None:
    rate = const("rate", 0.05)
    assert told(rate, node("u", "ResourceApplyMomentum", MOMENTUM)) == {
        "optimizer": "SGD",
        "learning_rate": 0.05,
    }


def test_a_rate_behind_other_ops() -> None:
    nodes = [
        const("base", 0.001),
        node("cast", "Cast", ("base:0",)),
        node("rate", "Identity", ("cast",)),
        node("u", "ResourceApplyMomentum", MOMENTUM),
    ]
    assert told(*nodes)["learning_rate"] == 0.001


def test_a_rate_that_is_no_constant_is_not_told() -> None:
    placeholder = node("rate", "Placeholder")
    assert told(placeholder, node("u", "ResourceApplyMomentum", MOMENTUM)) == {"optimizer": "SGD"}
    assert told(node("u", "ResourceApplyMomentum", MOMENTUM)) == {"optimizer": "SGD"}
    loop = [node("rate", "Identity", ("back",)), node("back", "Identity", ("rate",))]
    assert told(*loop, node("u", "ApplyMomentum", MOMENTUM)) == {"optimizer": "SGD"}


def test_two_optimizers_are_none() -> None:
    adam = node("a", "ApplyAdam", ("w",) * 10)
    assert told(const("w", 1.0), adam, node("u", "ApplyMomentum", MOMENTUM)) == {}


@pytest.mark.tf
def test_inputs_are_those_of_tensorflow() -> None:
    from tensorflow.python.framework import op_def_registry

    checked = 0
    for name, (_, dense, sparse) in _OPS.items():
        for prefix in ("", "Resource"):
            for middle, place in (("", dense), ("Sparse", sparse)):
                op = op_def_registry.get(f"{prefix}{middle}Apply{name}")
                if op is not None:
                    assert op.input_arg[place].name in ("lr", "alpha"), op.name
                    checked += 1
    assert checked > 50


def layer(name: str, *ops: str, dtype: int = FLOAT) -> list[bytes]:
    variable = node(f"{name}/kernel", "VarHandleOp", (), kind("dtype", FLOAT))
    return [variable, *(node(f"{name}/{op}", op, (), kind("T", dtype)) for op in ops)]


def test_activations_by_layer() -> None:
    nodes = [*layer("hidden", "MatMul", "BiasAdd", "Relu"), *layer("out", "MatMul")]
    assert told(*nodes, node("gradients/hidden/MatMul", "MatMul", (), kind("T", FLOAT))) == {
        "activations": [
            {"layer": "hidden", "activation": "relu"},
            {"layer": "out", "activation": "linear"},
        ],
        "dtype_policy": "float32",
    }


def test_a_scope_that_is_no_layer_silences_all() -> None:
    nodes = [*layer("m/hidden", "MatMul", "Relu"), node("m_1/hidden_1/Softmax", "Softmax")]
    assert "activations" not in told(*nodes)


def test_precision() -> None:
    assert told(*layer("a", "MatMul", dtype=HALF))["dtype_policy"] == "mixed_float16"
    assert told(*layer("a", "Conv2D", dtype=BFLOAT16))["dtype_policy"] == "mixed_bfloat16"
    both = [*layer("a", "MatMul", dtype=HALF), *layer("b", "MatMul", dtype=BFLOAT16)]
    assert "dtype_policy" not in told(*both)


def test_a_loss_and_a_batch_size() -> None:
    shapes = b"".join(message(7, message(2, number(1, n)) + message(2, b"")) for n in (32, 32))
    batch = node("next", "IteratorGetNext", (), attribute("output_shapes", message(1, shapes)))
    loss = node("x", "SparseSoftmaxCrossEntropyWithLogits")
    assert told(batch, function("f", loss)) == {
        "loss": "sparse_softmax_cross_entropy_with_logits",
        "batch_size": 32,
    }


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\xff",
        message(1, message(1, b"\xff")),
        message(1, number(1, 3)),
        message(1, message(5, number(1, 2))),
        message(2, number(1, 1)),
        const("rate", 1.0)[:-2],
    ],
)
def test_malformed_graphs(data: bytes) -> None:
    with pytest.raises(Damaged):
        read_graphs(data, (0, len(data)), "g")


def test_a_constant_without_a_value() -> None:
    with pytest.raises(Damaged, match="bad_graph"):
        told(node("rate", "Const"), node("u", "ApplyMomentum", MOMENTUM))


def test_too_many_nodes() -> None:
    data = b"\x0a\x00" * (MAX_NODES + 1)
    with pytest.raises(Damaged, match="limit"):
        read_graphs(data, (0, len(data)), "g")


def unpack(name: str, root: Path) -> Path:
    with zipfile.ZipFile(DATA / f"{name}.zip") as archive:
        archive.extractall(root, [n for n in archive.namelist() if n.startswith("logs/")])
    return root / "logs"


def test_event_files_of_an_estimator(tmp_path: Path) -> None:
    config = read(unpack("estimator", tmp_path)).config
    assert config == {
        "optimizer": "SGD",
        "learning_rate": 0.05,
        "loss": "sparse_softmax_cross_entropy_with_logits",
        "activations": [
            {"layer": "hidden", "activation": "relu"},
            {"layer": "out", "activation": "linear"},
        ],
        "dtype_policy": "float32",
        "batch_size": 8,
    }


def test_a_graph_that_was_saved_with_a_checkpoint(tmp_path: Path) -> None:
    logs = unpack("estimator", tmp_path)
    with_events = read(logs).config
    for path in logs.glob("events*"):
        path.unlink()
    assert read(logs).config == with_events


@pytest.mark.parametrize("name", ["keras2", "keras3"])
def test_models_that_keras_logged(tmp_path: Path, name: str) -> None:
    config = read(unpack(name, tmp_path)).config
    assert config["activations"] == [
        {"layer": "dense", "activation": "relu"},
        {"layer": "dense_1", "activation": "softmax"},
    ]
    if name == "keras3":
        assert config["optimizer"] == "Adam"
        assert config["learning_rate"] == 0.002


def test_a_trace_of_a_function(tmp_path: Path) -> None:
    """As ``tf.summary.trace_export`` writes it: a string tensor that holds a RunMetadata."""
    nodes = const("rate", 0.25) + node("u", "ResourceApplyGradientDescent", ("w", "rate", "g"))
    metadata = message(4, message(1, b"") + message(2, nodes))
    tensor = number(1, 7) + message(2, b"") + message(8, metadata)
    plugin = message(1, message(1, "graph_run_metadata_graph") + message(2, "1"))
    value = message(1, "trace") + message(8, tensor) + message(9, plugin)
    found = [ew.VERSION, ew.record(ew.event(0, [value])), ew.scalars("loss", [1.0, 0.5])]
    (tmp_path / "events.out.tfevents.1").write_bytes(b"".join(found))
    assert read(tmp_path).config == {"optimizer": "SGD", "learning_rate": 0.25}


def logged(root: Path, graph: bytes) -> Path:
    event = ew.double_field(1, ew.START) + ew.bytes_field(4, graph)
    found = [ew.VERSION, ew.record(event), ew.scalars("loss", [1.0, 0.5])]
    (root / "events.out.tfevents.1").write_bytes(b"".join(found))
    return root


def test_a_broken_graph_is_a_warning(tmp_path: Path) -> None:
    run = read(logged(tmp_path, b"\x0a\xff\xff"))
    (warning,) = run.warnings
    assert (warning.path, warning.kind) == ("events.out.tfevents.1", "bad_wire")
    assert len(run.series) == 1
    assert run.config == {}
