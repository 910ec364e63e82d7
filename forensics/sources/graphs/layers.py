"""Activations of layers, from the scopes of ops: told only where scopes are layers beyond doubt.

Keras 3 traces a model again under scopes of other names (``dense`` becomes ``dense_1``, and
``dense_1`` becomes ``dense_1_2``): a scope counts only where variables lie in it, as it is or, in
Keras 2, without the name of the model before it. A graph with any op in another scope tells
nothing: a list with holes would name the wrong last activation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from forensics.sources.graphs.graph_def import Graph, Node

PRODUCTS = frozenset({
    "MatMul", "BatchMatMul", "BatchMatMulV2", "Conv1D", "Conv2D", "Conv3D",
    "DepthwiseConv2dNative", "Einsum", "_FusedMatMul", "_FusedConv2D",
})  # fmt: skip
VARIABLES = frozenset({"VarHandleOp", "VariableV2", "Variable"})
_ACTIVATIONS = {
    "Relu": "relu", "Relu6": "relu6", "Elu": "elu", "Selu": "selu", "LeakyRelu": "leaky_relu",
    "Tanh": "tanh", "Sigmoid": "sigmoid", "Softmax": "softmax", "Softplus": "softplus",
    "Softsign": "softsign",
}  # fmt: skip
_NO_LAYER = re.compile(
    r"(^|/)(gradients?|gradient_tape|compile_loss|loss|losses|metrics?|compile_metrics|optimizer"
    r"|training|[a-z_]*cross_?entropy[a-z_0-9]*)(_\d+)?(/|$)"
)
"""Scopes of gradients, losses, metrics and updates."""
_MAX_LAYERS = 2_000


def activations(graphs: Iterable[Graph]) -> list[dict[str, str]]:
    """Find the activation of each layer; ``linear`` where a layer has a product and none.

    Returns
    -------
    list of dict
        ``{"layer", "activation"}``, in the order of the graph.
    """
    listed = list(graphs)
    scopes = {
        node.name.rpartition("/")[0]
        for graph in listed
        for node in graph.nodes.values()
        if node.op in VARIABLES
    }
    found: dict[tuple[str, str], None] = {}
    for graph in listed:
        for layer, names in _layers(graph, scopes).items():
            found.update(dict.fromkeys((layer, name) for name in names or ["linear"]))
        if len(found) > _MAX_LAYERS:
            return []
    return [{"layer": layer, "activation": name} for layer, name in found]


def _layers(graph: Graph, scopes: set[str]) -> dict[str, list[str]]:
    """Activations by layer in one graph; none where any scope is not certainly a layer's."""
    found: dict[str, list[str]] = {}
    for node in graph.nodes.values():
        if (node.op not in PRODUCTS and node.op not in _ACTIVATIONS) or _NO_LAYER.search(node.name):
            continue
        layer = _layer(node, scopes)
        if layer is None:
            return {}
        names = found.setdefault(layer, [])
        if node.op in _ACTIVATIONS:
            names.append(_ACTIVATIONS[node.op])
    return found


def _layer(node: Node, scopes: set[str]) -> str | None:
    scope = node.name.rpartition("/")[0]
    if scope and (scope in scopes or scope.partition("/")[2] in scopes):
        return scope.rpartition("/")[2]
    return None
