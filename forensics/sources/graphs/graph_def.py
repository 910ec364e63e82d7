"""Nodes of a serialised ``GraphDef``, those of its functions included; nothing of it is run.

Field numbers are those of ``graph.proto``, ``node_def.proto``, ``attr_value.proto``,
``function.proto``, ``meta_graph.proto`` and ``config.proto`` in ``tensorflow/core``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from forensics.errors import Damaged
from forensics.sources.typed_fields import (
    Field,
    fields,
    message_field,
    number_field,
    text_field,
)
from forensics.sources.wire import LENGTH, signed

MAX_NODES = 300_000
"""Nodes of one graph that are kept: some ten times the largest that were seen."""
_NODE, _LIBRARY = 1, 2
_FUNCTION, _FUNCTION_SIGNATURE, _FUNCTION_NODE = 1, 1, 3
_META_GRAPH_DEF = 2
_FUNCTION_GRAPHS, _BEFORE_OPTIMIZATION = 4, 2

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Node:
    """An operation: its attributes are places of ``AttrValue`` messages in the bytes."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: dict[str, Span]


@dataclass(slots=True)
class Graph:
    """Nodes of one scope by name: of the graph itself, or of one of its functions."""

    name: str
    data: bytes
    nodes: dict[str, Node] = field(default_factory=dict)

    def producer(self, text: str) -> Node | None:
        """Node that an input names: ``name``, ``name:0``, ``name:output:0`` or ``^name``."""
        return self.nodes.get(text.removeprefix("^").partition(":")[0])


def read_graphs(data: bytes, span: Span, path: str) -> list[Graph]:
    """Read a ``GraphDef``.

    Parameters
    ----------
    data : bytes
        What it lies in.
    span : tuple of int
        First and last byte (exclusive) of it.
    path : str
        The file, for errors.

    Returns
    -------
    list of Graph
        The graph itself, then its functions.

    Raises
    ------
    Damaged
        It is no such message, or has more than `MAX_NODES` nodes.
    """
    top = Graph("", data)
    graphs, counted = [top], 0
    for part in fields(data, span, path):
        if part.number == _NODE:
            counted += 1
            _add(top, message_field(part, path), path, counted)
        elif part.number == _LIBRARY:
            for function in fields(data, message_field(part, path), path):
                if function.number == _FUNCTION:
                    graphs.append(_function(data, function, path, counted))
                    counted += len(graphs[-1].nodes) + 1
    return graphs


def graph_of_meta_graph(data: bytes, span: Span, path: str) -> Span | None:
    """Place of the ``GraphDef`` in a ``MetaGraphDef``.

    Raises
    ------
    Damaged
        It is no such message.
    """
    found = None
    for part in fields(data, span, path):
        if part.number == _META_GRAPH_DEF:
            found = message_field(part, path)
    return found


def graphs_of_run_metadata(data: bytes, span: Span, path: str) -> list[Span]:
    """Places of the graphs of traced functions, before they were optimised, in a ``RunMetadata``.

    Raises
    ------
    Damaged
        It is no such message.
    """
    found: list[Span] = []
    for part in fields(data, span, path):
        if part.number == _FUNCTION_GRAPHS:
            found.extend(
                message_field(item, path)
                for item in fields(data, message_field(part, path), path)
                if item.number == _BEFORE_OPTIMIZATION
            )
    return found


def _function(data: bytes, function: Field, path: str, counted: int) -> Graph:
    graph = Graph("", data)
    for part in fields(data, message_field(function, path), path):
        if part.number == _FUNCTION_SIGNATURE:
            for item in fields(data, message_field(part, path), path):
                if item.number == 1 and item.wire_type == LENGTH:
                    graph.name = text_field(item, data, path)
        elif part.number == _FUNCTION_NODE:
            counted += 1
            _add(graph, message_field(part, path), path, counted)
    return graph


def _add(graph: Graph, span: Span, path: str, counted: int) -> None:
    if counted > MAX_NODES:
        raise Damaged(path, span[0], "limit", f"a graph of more than {MAX_NODES} nodes")
    name = op = ""
    inputs: list[str] = []
    attributes: dict[str, Span] = {}
    for part in fields(graph.data, span, path):
        if part.number == 1:
            name = text_field(part, graph.data, path)
        elif part.number == 2:
            op = text_field(part, graph.data, path)
        elif part.number == 3:
            inputs.append(text_field(part, graph.data, path))
        elif part.number == 5:
            key, place = _attribute(graph.data, message_field(part, path), path)
            attributes[key] = place
    graph.nodes[name] = Node(name, op, tuple(inputs), attributes)


def _attribute(data: bytes, span: Span, path: str) -> tuple[str, Span]:
    key, place = "", (span[1], span[1])
    for part in fields(data, span, path):
        if part.number == 1:
            key = text_field(part, data, path)
        elif part.number == 2:
            place = message_field(part, path)
    return key, place


def type_of(graph: Graph, node: Node, attribute: str, path: str) -> int | None:
    """Value of an attribute that is a dtype, as ``types.proto`` numbers them."""
    for part in _value(graph, node, attribute, path):
        if part.number == 6:
            return number_field(part, path)
    return None


def tensor_of(graph: Graph, node: Node, attribute: str, path: str) -> Span | None:
    """Place of the ``TensorProto`` of an attribute."""
    for part in _value(graph, node, attribute, path):
        if part.number == 8:
            return message_field(part, path)
    return None


def shapes_of(graph: Graph, node: Node, attribute: str, path: str) -> list[tuple[int, ...]]:
    """Shapes of an attribute, a list or a single one; -1 is unknown, those of no rank are left."""
    found = []
    for part in _value(graph, node, attribute, path):
        if part.number == 7:
            found.append(_shape(graph.data, message_field(part, path), path))
        elif part.number == 1:
            found.extend(
                _shape(graph.data, message_field(item, path), path)
                for item in fields(graph.data, message_field(part, path), path)
                if item.number == 7
            )
    return [shape for shape in found if shape is not None]


def _shape(data: bytes, span: Span, path: str) -> tuple[int, ...] | None:
    sizes: list[int] = []
    for part in fields(data, span, path):
        if part.number == 3 and number_field(part, path):
            return None
        if part.number == 2:
            size = 0
            for item in fields(data, message_field(part, path), path):
                if item.number == 1:
                    size = signed(number_field(item, path))
            sizes.append(size)
    return tuple(sizes)


def _value(graph: Graph, node: Node, attribute: str, path: str) -> Iterator[Field]:
    place = node.attributes.get(attribute)
    return fields(graph.data, place, path) if place is not None else iter(())
