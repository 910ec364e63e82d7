"""Settings of a run, as far as its graph tells them: only what an op says beyond doubt."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from forensics.sources.graphs.graph_def import Graph, Node, shapes_of, type_of
from forensics.sources.graphs.layers import PRODUCTS, VARIABLES, activations
from forensics.sources.graphs.optimizer_ops import optimizers

_LOSSES = {
    "SoftmaxCrossEntropyWithLogits": "softmax_cross_entropy_with_logits",
    "SparseSoftmaxCrossEntropyWithLogits": "sparse_softmax_cross_entropy_with_logits",
    "CTCLoss": "ctc_loss", "CTCLossV2": "ctc_loss",
}  # fmt: skip
_FLOAT, _BFLOAT16, _HALF, _DOUBLE = 1, 14, 19, 2
_NAMES = {_FLOAT: "float32", _DOUBLE: "float64", _HALF: "float16", _BFLOAT16: "bfloat16"}


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
        ``dtype_policy``, ``batch_size``. What ops disagree on is left out. A loss has the name of
        its op: whether a model answers logits is not told, for Keras uses these ops on the
        logarithm of probabilities too.

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
        "activations": activations(graphs) or None,
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


def _policy(nodes: Iterable[tuple[Graph, Node]], path: str) -> str | None:
    """Say what products are computed in, and whether variables are kept in float32 beside it."""
    computed: Counter[int | None] = Counter()
    stored: set[int | None] = set()
    for graph, node in nodes:
        if node.op in PRODUCTS:
            computed[type_of(graph, node, "T", path)] += 1
        elif node.op in VARIABLES:
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
