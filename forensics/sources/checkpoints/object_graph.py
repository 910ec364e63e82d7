"""What each tensor of a TF2 checkpoint is for, told by the graph of objects stored in it.

A checkpoint key is only the shortest path to a variable: the key of a model's weight may begin with
``optimizer/_trainable_variables/``. So each node of the graph is judged by the edges that lead to
it. Field numbers are those of ``tensorflow/core/protobuf/trackable_object_graph.proto``; names of
edges are those of Keras 3, of Keras 2 and of ``tf.train.Checkpoint``.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

from forensics.domain.run import TensorKind
from forensics.errors import Damaged
from forensics.sources.checkpoints.optimizers import is_optimizer_name
from forensics.sources.typed_fields import fields, message_field, number_field, text_field
from forensics.sources.wire import VARINT

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "VARIABLE_VALUE"
VALUE_SUFFIX = f"/.ATTRIBUTES/{_VALUE}"
"""How the keys of variables end."""

_METRIC_EDGES = frozenset(
    {"metrics", "_metrics", "compiled_metrics", "_compile_metrics", "compiled_loss"}
)
_METRIC_EDGE = re.compile(r"(^|_)(loss_tracker|metrics?)$")
_BEST_SO_FAR = re.compile(r"best|(^|_)(loss|metric|acc|accuracy|auc|score)($|_)", re.IGNORECASE)
_RANDOM_EDGE = re.compile(r"seed|_state_var$|random_generator|(^|_)rng($|_)", re.IGNORECASE)
_ITERATION_EDGES = ("_iterations", "iter", "iterations")
_LEARNING_RATE_EDGES = ("_learning_rate", "learning_rate")
_STEP_EDGES = frozenset({"step", "global_step"})


@dataclass(slots=True)
class Node:
    """One object: its edges by name, the keys of its tensors, the slots that belong to it."""

    children: list[tuple[str, int]] = field(default_factory=list)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)

    def child(self, names: tuple[str, ...]) -> int | None:
        """Node behind the first of these edges that there is."""
        by_name = dict(self.children)
        return next((by_name[n] for n in names if n in by_name), None)


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Keys of an optimizer's counters; ``name`` is Keras's, e.g. ``adam``."""

    name: str | None
    iterations: str | None
    learning_rate: str | None
    wraps_another: bool


@dataclass(frozen=True, slots=True)
class Roles:
    """What the tensors of a checkpoint are for, by their keys."""

    kinds: dict[str, TensorKind]
    optimizers: tuple[Optimizer, ...]
    step: str | None
    save_counter: str | None


def parse_graph(data: bytes, path: str) -> list[Node]:
    """Nodes of a serialised ``TrackableObjectGraph``.

    Raises
    ------
    Damaged
        It is no such message, or an edge leads nowhere.
    """
    nodes = [
        _node(data, message_field(entry, path), path)
        for entry in fields(data, (0, len(data)), path)
        if entry.number == 1
    ]
    for node in nodes:
        for target in (*(to for _, to in node.children), *node.slots):
            if target >= len(nodes):
                raise Damaged(path, 0, "bad_object_graph", "an edge of the object graph is loose")
    return nodes


def _node(data: bytes, span: tuple[int, int], path: str) -> Node:
    node = Node()
    for part in fields(data, span, path):
        if part.number not in (1, 2, 3):
            continue
        numbers: dict[int, int] = {}
        texts: dict[int, str] = {}
        for item in fields(data, message_field(part, path), path):
            if item.wire_type == VARINT:
                numbers[item.number] = number_field(item, path)
            elif item.number <= 3:
                texts[item.number] = text_field(item, data, path)
        if part.number == 1:
            node.children.append((texts.get(2, ""), numbers.get(1, 0)))
        elif part.number == 2:
            node.attributes.append((texts.get(1, ""), texts.get(2, ""), texts.get(3, "")))
        else:
            node.slots.append(numbers.get(3, 0))
    return node


def roles(
    nodes: list[Node], scalar_integers: frozenset[str], scalar_floats: frozenset[str]
) -> Roles:
    """Judge every tensor of the graph.

    Parameters
    ----------
    nodes : list of Node
        The graph; its first node is the checkpoint itself.
    scalar_integers, scalar_floats : frozenset of str
        Keys whose tensors are single numbers: integers count something, and a float of the
        checkpoint itself may keep the best score so far, which starts at infinity.
    """
    kinds: dict[int, TensorKind] = {}
    optimizers = [i for i, node in enumerate(nodes) if _is_optimizer(node)]
    for number in optimizers:
        _judge_optimizer(nodes, number, kinds)
    for node in nodes:
        kinds.update(dict.fromkeys(node.slots, TensorKind.SLOT))
    _judge_best_scores(nodes, scalar_floats, kinds)
    _judge_by_edges(nodes, kinds)
    by_key: dict[str, TensorKind] = {}
    for number, node in enumerate(nodes):
        for name, _, key in node.attributes:
            kind = kinds.get(number, TensorKind.WEIGHT)
            if name != _VALUE or (kind is TensorKind.WEIGHT and key in scalar_integers):
                kind = TensorKind.OTHER
            by_key[key] = kind
    return Roles(
        by_key,
        tuple(_optimizer(nodes, number) for number in optimizers),
        _counter(nodes, _STEP_EDGES, scalar_integers),
        _counter(nodes, frozenset({"save_counter"}), scalar_integers),
    )


def _is_optimizer(node: Node) -> bool:
    if node.slots:
        return True
    names = {name for name, _ in node.children}
    return bool(names & {"_iterations", "iter"}) and bool(
        names & {"_variables", "_trainable_variables", "learning_rate", "_learning_rate"}
    )


def _judge_optimizer(nodes: list[Node], number: int, kinds: dict[int, TensorKind]) -> None:
    """Own variables are counters and hyperparameters; those in its lists are slots or weights."""
    children = nodes[number].children
    own = {to for _, to in children if nodes[to].attributes}
    kinds.update(dict.fromkeys(own, TensorKind.OTHER))
    for name, to in children:
        if to in own or _is_optimizer(nodes[to]):
            continue
        kind = TensorKind.WEIGHT if name == "_trainable_variables" else TensorKind.SLOT
        for _, variable in nodes[to].children:
            if kind is TensorKind.WEIGHT or variable not in kinds:
                kinds[variable] = kind


def _judge_best_scores(
    nodes: list[Node], scalar_floats: frozenset[str], kinds: dict[int, TensorKind]
) -> None:
    for name, to in nodes[0].children if nodes else ():
        if _BEST_SO_FAR.search(name) and "scale" not in name and _key(nodes, to) in scalar_floats:
            kinds.setdefault(to, TensorKind.METRIC)


def _judge_by_edges(nodes: list[Node], kinds: dict[int, TensorKind]) -> None:
    """Walk from the root; what is first reached through a metric or a generator belongs to it."""
    seen: set[int] = set()
    waiting = deque([(0, TensorKind.WEIGHT)] if nodes else [])
    while waiting:
        number, kind = waiting.popleft()
        if number in seen:
            continue
        seen.add(number)
        if nodes[number].attributes and number not in kinds:
            kinds[number] = kind
        below = TensorKind.METRIC if _is_mean(nodes, number) else kind
        ahead = [(to, _kind_of_edge(name, below)) for name, to in nodes[number].children]
        # Weights last, so that a tracker that a model also lists among its layers stays a tracker.
        waiting.extend(sorted(ahead, key=lambda item: item[1] is TensorKind.WEIGHT))


def _kind_of_edge(name: str, kind: TensorKind) -> TensorKind:
    if name in _METRIC_EDGES or _METRIC_EDGE.search(name):
        return TensorKind.METRIC
    if kind is TensorKind.WEIGHT and (_RANDOM_EDGE.search(name) or name == "save_counter"):
        return TensorKind.OTHER
    return kind


def _is_mean(nodes: list[Node], number: int) -> bool:
    """Whether an object keeps a running mean the way Keras metrics do."""
    variables = {name for name, to in nodes[number].children if nodes[to].attributes}
    return "total" in variables and variables <= {"total", "count"}


def _optimizer(nodes: list[Node], number: int) -> Optimizer:
    node = nodes[number]
    iterations = node.child(_ITERATION_EDGES)
    learning_rate = node.child(_LEARNING_RATE_EDGES)
    return Optimizer(
        _name_of(nodes, node, iterations),
        _key(nodes, iterations),
        _key(nodes, learning_rate),
        any(_is_optimizer(nodes[to]) for _, to in node.children if to != number),
    )


def _name_of(nodes: list[Node], node: Node, iterations: int | None) -> str | None:
    """Name that an optimizer has given to its variables: to its counter, or to a slot (Keras 2)."""
    lists = [to for name, to in node.children if name == "_variables"]
    slots = [to for number in lists for _, to in nodes[number].children] + node.slots
    owned = [_full_name(nodes, slot).split("/") for slot in slots]
    if iterations is not None and "/" in (full := _full_name(nodes, iterations)):
        return full.split("/")[0]
    return next(
        (parts[0] for parts in owned if len(parts) > 1 and is_optimizer_name(parts[0])), None
    )


def _full_name(nodes: list[Node], number: int) -> str:
    return next((full for _, full, _ in nodes[number].attributes), "")


def _key(nodes: list[Node], number: int | None) -> str | None:
    if number is None:
        return None
    return next((key for name, _, key in nodes[number].attributes if name == _VALUE), None)


def _counter(
    nodes: list[Node], names: frozenset[str], scalar_integers: frozenset[str]
) -> str | None:
    """Key of a counter that hangs on the root or on one of its children, the root's first."""
    if not nodes:
        return None
    for parent in (0, *(to for _, to in nodes[0].children)):
        if parent and _is_optimizer(nodes[parent]):
            continue
        for name, to in nodes[parent].children:
            key = _key(nodes, to)
            if name in names and key in scalar_integers:
                return key
    return None
