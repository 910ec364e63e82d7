"""What a ``saved_model.pb`` says, read as data: graphs, objects, variables; nothing is loaded.

Field numbers are those of ``saved_model.proto``, ``meta_graph.proto`` and
``saved_object_graph.proto`` in ``tensorflow/core/protobuf``, and of Keras's
``saved_metadata.proto``. None of these files carries a checksum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from forensics.errors import Damaged
from forensics.sources.graphs.graph_def import Graph, read_graphs
from forensics.sources.typed_fields import (
    Field,
    fields,
    message_field,
    number_field,
    text_field,
)
from forensics.sources.wire import signed

_SCHEMA = 1
_MAX_OBJECTS = 500_000
_META_INFO, _GRAPH, _SIGNATURE, _OBJECTS = 1, 2, 5, 7
_USER_OBJECT, _VARIABLE = 4, 7


@dataclass(frozen=True, slots=True)
class SavedVariable:
    """A variable as the graph of objects describes it; dtype as ``types.proto`` numbers it."""

    name: str
    dtype: int
    shape: tuple[int, ...] | None


@dataclass(slots=True)
class SavedModelFile:
    """All meta graphs of a file together.

    Attributes
    ----------
    tensorflow : str
        Version that wrote it.
    tags, signatures : list of str
        What it is for, and the functions it offers.
    graphs : list of Graph
        Every graph and every function.
    variables : list of SavedVariable
        Without those of TensorFlow 1, which has no graph of objects.
    metadata : list of str
        JSON that Keras 2 wrote about its objects, the root's first.
    """

    tensorflow: str = ""
    tags: list[str] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    graphs: list[Graph] = field(default_factory=list)
    variables: list[SavedVariable] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)


def read_saved_model(data: bytes, path: str) -> SavedModelFile:
    """Read a ``saved_model.pb``.

    Raises
    ------
    Damaged
        It is no such message, or has more nodes or objects than any that was seen.
    """
    model, schema, count = SavedModelFile(), 0, 0
    for part in fields(data, (0, len(data)), path):
        if part.number == 1:
            schema = number_field(part, path)
        elif part.number == 2:
            count += 1
            _meta_graph(model, data, message_field(part, path), path)
    if schema != _SCHEMA or not count:
        detail = f"a SavedModel of schema {schema} with {count} graphs"
        raise Damaged(path, 0, "bad_saved_model", detail)
    return model


def _meta_graph(model: SavedModelFile, data: bytes, span: tuple[int, int], path: str) -> None:
    for part in fields(data, span, path):
        if part.number == _META_INFO:
            _meta_info(model, data, part, path)
        elif part.number == _GRAPH:
            model.graphs += read_graphs(data, message_field(part, path), path)
        elif part.number == _SIGNATURE:
            model.signatures += _texts(data, part, 1, path)
        elif part.number == _OBJECTS:
            _objects(model, data, message_field(part, path), path)


def _meta_info(model: SavedModelFile, data: bytes, part: Field, path: str) -> None:
    for item in fields(data, message_field(part, path), path):
        if item.number == 4:
            model.tags.append(text_field(item, data, path))
        elif item.number == 5:
            model.tensorflow = text_field(item, data, path)


def _texts(data: bytes, part: Field, number: int, path: str) -> Iterator[str]:
    """Texts of one field of a message."""
    for item in fields(data, message_field(part, path), path):
        if item.number == number:
            yield text_field(item, data, path)


def _objects(model: SavedModelFile, data: bytes, span: tuple[int, int], path: str) -> None:
    count = 0
    edges: list[int] = []
    for part in fields(data, span, path):
        if part.number != 1:
            continue
        count += 1
        if count > _MAX_OBJECTS:
            raise Damaged(path, part.last, "limit", f"more than {_MAX_OBJECTS} objects")
        for item in fields(data, message_field(part, path), path):
            if item.number == 1:
                edges.append(_target(data, item, path))
            elif item.number == _USER_OBJECT:
                model.metadata += [text for text in _texts(data, item, 3, path) if text]
            elif item.number == _VARIABLE:
                model.variables.append(_variable(data, item, path))
    if any(target >= count for target in edges):
        raise Damaged(path, span[0], "bad_object_graph", "an edge of the object graph is loose")


def _target(data: bytes, edge: Field, path: str) -> int:
    numbers = [
        number_field(item, path)
        for item in fields(data, message_field(edge, path), path)
        if item.number == 1
    ]
    return numbers[-1] if numbers else 0


def _variable(data: bytes, part: Field, path: str) -> SavedVariable:
    name, dtype, shape = "", 0, None
    sizes: list[int] = []
    for item in fields(data, message_field(part, path), path):
        if item.number == 1:
            dtype = number_field(item, path)
        elif item.number == 2:
            sizes, known = _shape(data, item, path)
            shape = tuple(sizes) if known else None
        elif item.number == 6:
            name = text_field(item, data, path)
    return SavedVariable(name, dtype, shape)


def _shape(data: bytes, part: Field, path: str) -> tuple[list[int], bool]:
    """Sizes, and whether all are known."""
    sizes, known = [], True
    for item in fields(data, message_field(part, path), path):
        if item.number == 3 and number_field(item, path):
            known = False
        elif item.number == 2:
            found = [
                signed(number_field(size, path))
                for size in fields(data, message_field(item, path), path)
                if size.number == 1
            ]
            sizes.append(found[-1] if found else 0)
    return sizes, known and all(size >= 0 for size in sizes)


def read_keras_metadata(data: bytes, path: str) -> list[str]:
    """JSON texts of a ``keras_metadata.pb``, the root's first.

    Raises
    ------
    Damaged
        It is no such message.
    """
    found: list[tuple[int, str]] = []
    for part in fields(data, (0, len(data)), path):
        if part.number != 1:
            continue
        number, text = 0, ""
        for item in fields(data, message_field(part, path), path):
            if item.number == 2:
                number = number_field(item, path)
            elif item.number == 5:
                text = text_field(item, data, path)
        if text:
            found.append((number, text))
    return [text for _, text in sorted(found)]
