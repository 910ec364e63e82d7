"""Graphs that the program of this process traced: where the user wrote an op of theirs."""

from __future__ import annotations

import gc
import re
from typing import Any, Dict, Iterator, NamedTuple, Optional

from ..tracing import frames

_FUNCTION = re.compile(r"^__(?:inference|forward|backward)_(?:__backward_)?(.+?)(?:_\d+)+$")
_NUMBER = re.compile(r"_\d+$")
_RESTORED = ("saved_model/load.py", "saved_model/function_deserialization.py")


class Code(NamedTuple):
    """A frame of a recorded stack, in the shape that `frames` takes."""

    co_filename: str
    co_name: str


def source_in(function: str, op_name: str, op_type: str) -> Optional[Dict[str, Any]]:
    """Line of the user's program that made an op of a function.

    None when the function was restored: then no program made it, and when it is not to be told
    which of several traces is meant.

    Parameters
    ----------
    function : str
        Name in the runtime, such as ``__inference_step_42``.
    op_name, op_type : str
        The op in the inlined graph.
    """
    match = _FUNCTION.match(function)
    if match is None:
        return None
    lines = {
        str(line): line
        for graph in _graphs(match.group(1))
        for line in (_line(graph, op_name, op_type),)
        if line is not None
    }
    return next(iter(lines.values())) if len(lines) == 1 else None


def operation_in(graph: str, op_name: str, op_type: str) -> Any:
    """Return an op of a living graph, whose name may end in another number; None: it is gone."""
    for found in _graphs_like(_NUMBER.sub("", graph)):
        try:
            operation = found.get_operation_by_name(op_name)
        except (KeyError, ValueError):
            continue
        if operation.type == op_type:
            return operation
    return None


def _graphs_like(name: str) -> Iterator[Any]:
    from tensorflow.python.framework.func_graph import FuncGraph

    for thing in gc.get_objects():
        if issubclass(type(thing), FuncGraph) and _NUMBER.sub("", thing.name) == name:
            yield thing


def _graphs(name: str) -> Iterator[Any]:
    from tensorflow.python.framework.func_graph import FuncGraph

    for thing in gc.get_objects():
        if issubclass(type(thing), FuncGraph) and thing.name == name:
            yield thing


def _line(graph: Any, op_name: str, op_type: str) -> Optional[Dict[str, Any]]:
    try:
        operation = graph.get_operation_by_name(op_name)
    except (KeyError, ValueError):
        return None
    return line_of(operation.traceback) if operation.type == op_type else None


def line_of(stack: Any) -> Optional[Dict[str, Any]]:
    """Innermost line of the user's program on a recorded stack, outermost frame first."""
    found = None
    for file, number, function, *_ in stack or ():
        if file.replace("\\", "/").endswith(_RESTORED):
            return None
        if frames.is_user_file(file):
            found = frames.described_line(Code(file, function), number)
    return found


def phase_of(stack: Any) -> Optional[str]:
    """Phase that a recorded stack stands for; None when it says nothing."""
    best, rank = None, 0
    for file, _, function, *_rest in stack or ():
        found = frames.phase_of(Code(file, function))
        if frames.RANK[found] > rank:
            best, rank = found, frames.RANK[found]
    return best
