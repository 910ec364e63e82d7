"""Settings of a run, as far as its graph tells them: only what an op says beyond doubt."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from forensics.sources.graphs.graph_def import Graph, Node, shapes_of, type_of
from forensics.sources.graphs.optimizer_ops import optimizers

_LOSSES = {
    "SoftmaxCrossEntropyWithLogits": "categorical_crossentropy",
    "SparseSoftmaxCrossEntropyWithLogits": "sparse_categorical_crossentropy",
    "CTCLoss": "ctc", "CTCLossV2": "ctc",
}  # fmt: skip
_ACTIVATIONS = {
    "Relu": "relu", "Relu6": "relu6", "Elu": "elu", "Selu": "selu", "LeakyRelu": "leaky_relu",
    "Tanh": "tanh", "Sigmoid": "sigmoid", "Softmax": "softmax", "Softplus": "softplus",
    "Softsign": "softsign",
}  # fmt: skip
# Scopes of what is no layer's own: gradients, losses, metrics, updates.
_NO_LAYER = re.compile(
    r"(^|/)(gradients?|gradient_tape|compile_loss|loss|losses|metrics?|compile_metrics|optimizer"
    r"|training|while|[a-z_]*cross_?entropy[a-z_0-9]*|[A-Za-z]*Metric[A-Za-z]*)(_\d+)?(/|$)"
)
_HEAVY = frozenset({
    "MatMul", "BatchMatMul", "BatchMatMulV2", "Conv1D", "Conv2D", "Conv3D",
    "DepthwiseConv2dNative", "Einsum", "_FusedMatMul", "_FusedConv2D",
})  # fmt: skip
_VARIABLES = frozenset({"VarHandleOp", "VariableV2", "Variable"})
_FLOAT, _BFLOAT16, _HALF, _DOUBLE = 1, 14, 19, 2
_NAMES = {_FLOAT: "float32", _DOUBLE: "float64", _HALF: "float16", _BFLOAT16: "bfloat16"}
_MAX_ACTIVATIONS = 2_000


def settings_of_graphs(graphs: Sequence[Graph], path: str) -> dict[str, Any]:
    """Find settings in a graph and its functions.

    Parameters
    ----------
    graphs : sequence of Graph
        As `read_graphs` answers them.
    path : str
        The file, for errors.

    Returns
    -------
    dict
        Those found of: ``optimizer`` and ``learning_rate`` (of ops that update variables; the rate
        where it is one constant), ``loss``, ``activations`` (list of ``{"layer", "activation"}``),
        ``dtype_policy``, ``batch_size``. What ops disagree on is left out. Whether a loss was given
        logits is not told: Keras uses the ops for logits for probabilities too.

    Raises
    ------
    Damaged
        An attribute or a constant is malformed.
    """
    updates = [update for graph in graphs for update in optimizers(graph, path)]
    nodes = [(graph, node) for graph in graphs for node in graph.nodes.values()]
    found = {
        "optimizer": _only(name for name, _ in updates),
        "learning_rate": _rate(rate for _, rate in updates),
        "loss": _only(_LOSSES[node.op] for _, node in nodes if node.op in _LOSSES),
        "activations": _activations(node for _, node in nodes) or None,
        "dtype_policy": _policy(nodes, path),
        "batch_size": _batch_size(nodes, path),
    }
    return {key: value for key, value in found.items() if value is not None}


def _only(values: Iterable[Any]) -> Any:
    """Return the value that all have, None where there is none or several."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None


def _rate(rates: Iterable[float | None]) -> float | None:
    rate: float | None = _only(rates)
    return rate if rate is not None and math.isfinite(rate) else None


def _activations(nodes: Iterable[Node]) -> list[dict[str, str]]:
    """Activations by layer, in the order of the graph: the scope around the op is the layer's."""
    found: dict[tuple[str, str], None] = {}
    for node in nodes:
        scope, _, _ = node.name.rpartition("/")
        if node.op in _ACTIVATIONS and scope and not _NO_LAYER.search(scope):
            found[scope.rpartition("/")[2], _ACTIVATIONS[node.op]] = None
        if len(found) >= _MAX_ACTIVATIONS:
            break
    return [{"layer": layer, "activation": activation} for layer, activation in found]


def _policy(nodes: Iterable[tuple[Graph, Node]], path: str) -> str | None:
    """Say what products are computed in, and whether variables are kept in float32 beside it."""
    computed: Counter[int | None] = Counter()
    stored: set[int | None] = set()
    for graph, node in nodes:
        if node.op in _HEAVY:
            computed[type_of(graph, node, "T", path)] += 1
        elif node.op in _VARIABLES:
            stored.add(type_of(graph, node, "dtype", path))
    low = [kind for kind in (_HALF, _BFLOAT16) if computed[kind]]
    if len(low) == 1:
        name = _NAMES[low[0]]
        return f"mixed_{name}" if _FLOAT in stored or computed[_FLOAT] else name
    kinds = [kind for kind in computed if kind is not None]
    return _NAMES.get(kinds[0]) if len(kinds) == 1 and not low else None


def _batch_size(nodes: Iterable[tuple[Graph, Node]], path: str) -> int | None:
    """First dimension of all that the input pipeline hands over, where it is known and one."""
    sizes: set[int] = set()
    for graph, node in nodes:
        if node.op == "IteratorGetNext":
            shapes = shapes_of(graph, node, "output_shapes", path)
            sizes.update(shape[0] for shape in shapes if shape)
    size = _only(sizes)
    return size if size is not None and size > 0 else None
