"""Optimizers in a graph: the ops that update variables, and the learning rate that they are given.

Names and inputs of the ops are those of ``tensorflow/core/ops/training_ops.cc``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from forensics.errors import Damaged
from forensics.sources.checkpoints.contents import shortest
from forensics.sources.events.scalar_tensor import scalar
from forensics.sources.graphs.graph_def import Graph, Node, tensor_of

# What is updated by: Keras's name of the optimizer, and which input is the learning rate; of the
# sparse form where it is another one.
_OPS: dict[str, tuple[str, int, int]] = {
    "GradientDescent": ("SGD", 1, 1), "ProximalGradientDescent": ("ProximalGradientDescent", 1, 1),
    "Momentum": ("SGD", 2, 2), "KerasMomentum": ("SGD", 2, 2),
    "Adadelta": ("Adadelta", 3, 3), "Adagrad": ("Adagrad", 2, 2), "AdagradV2": ("Adagrad", 2, 2),
    "AdagradDA": ("AdagradDA", 4, 5), "ProximalAdagrad": ("ProximalAdagrad", 2, 2),
    "Adam": ("Adam", 5, 5), "AdamWithAmsgrad": ("Adam", 6, 6), "AdaMax": ("Adamax", 4, 4),
    "RMSProp": ("RMSprop", 3, 3), "CenteredRMSProp": ("RMSprop", 4, 4),
    "Ftrl": ("Ftrl", 4, 5), "FtrlV2": ("Ftrl", 4, 5),
    "AddSign": ("AddSign", 2, 2), "PowerSign": ("PowerSign", 2, 2),
}  # fmt: skip
_UPDATE = re.compile(r"(Resource)?(Sparse)?Apply(\w+)")
_PASSING_ON = frozenset({"Identity", "Cast", "ReadVariableOp", "Enter", "Reshape", "StopGradient"})
_MAX_STEPS = 20
"""Ops between an update and the constant that it is given."""


def optimizers(graph: Graph, path: str) -> Iterator[tuple[str, float | None]]:
    """Yield class and learning rate of every update; None where the rate is no constant."""
    for node in graph.nodes.values():
        match = _UPDATE.fullmatch(node.op)
        known = _OPS.get(match[3]) if match else None
        if match is None or known is None:
            continue
        name, dense, sparse = known
        place = sparse if match[2] else dense
        rate = constant(graph, node.inputs[place], path) if place < len(node.inputs) else None
        yield name, rate


def constant(graph: Graph, source: str, path: str) -> float | None:
    """Value of the constant that an input leads back to, None where it does not.

    Raises
    ------
    Damaged
        The constant is malformed.
    """
    for _ in range(_MAX_STEPS):
        node = graph.producer(source)
        if node is None:
            return None
        if node.op == "Const":
            return _value(graph, node, path)
        if node.op not in _PASSING_ON or not node.inputs:
            return None
        source = node.inputs[0]
    return None


def _value(graph: Graph, node: Node, path: str) -> float | None:
    span = tensor_of(graph, node, "value", path)
    if span is None:
        raise Damaged(path, 0, "bad_graph", f"the constant {node.name[:80]!r} has no value")
    found = scalar(graph.data, *span, path)
    return None if found is None else shortest(found)
