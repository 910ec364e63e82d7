"""Which compiled functions a step calls: they tell its mode and hold the graphs that ran."""

from __future__ import annotations

import contextlib
import sys
from collections import OrderedDict
from types import FrameType
from typing import Any, Iterator, List, Optional, Set

from .. import probes
from ..tracing.frames import is_user_file

_CALL_DEPTH = 20
"""Frames between a `tf.function` and the concrete function that it calls, more than enough."""

_NOT_OWN = ("autograph/impl/api.py", "backend/tensorflow/trainer.py", "engine/training.py")
"""Files of libraries whose compiled functions are the user's steps."""


class Calls:
    """Concrete functions that were called from Python, each once, in order of their first call."""

    def __init__(self) -> None:
        self._found: OrderedDict[int, Any] = OrderedDict()
        self._own: Set[int] = set()
        self.watched = True

    def add(self, function: Any, of_library: bool) -> None:
        """Note a call."""
        self._found.setdefault(id(function), function)
        if not of_library:
            self._own.add(id(function))

    @property
    def functions(self) -> List[Any]:
        """The concrete functions."""
        return list(self._found.values())

    def mode(self) -> Optional[str]:
        """How the step that made these calls was executed: ``jit``, ``graph`` or ``eager``.

        None when calls cannot be watched in this version of TensorFlow. Functions of installed
        libraries are called by eager steps too: they do not count.
        """
        if not self.watched:
            return None
        own = [f for f in self.functions if id(f) in self._own]
        if any(is_compiled(f) for f in own):
            return "jit"
        return "graph" if own else "eager"

    def graphs(self) -> List[Any]:
        """Graph definitions of the functions, with the libraries of all that they call."""
        found = []
        for function in self.functions:
            with contextlib.suppress(Exception):  # a graph of more than 2 GB has none
                found.append(function.graph.as_graph_def())
        return found


@contextlib.contextmanager
def watching() -> Iterator[Calls]:
    """Note the compiled functions that are called within the block, from outside of any graph."""
    import tensorflow as tf

    calls, kind = Calls(), probes.part(probes.FUNCTION_CALLS)
    if kind is None:
        calls.watched = False
        yield calls
        return
    original = kind._call_flat

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        # a call within a function that is being traced is part of that function's graph
        if tf.executing_eagerly():
            calls.add(self, _of_library())
        return original(self, *args, **kwargs)

    kind._call_flat = noting
    try:
        yield calls
    finally:
        kind._call_flat = original


def is_compiled(function: Any) -> bool:
    """Whether XLA compiles the function, or one that it calls."""
    try:
        if function.function_def.attr["_XlaMustCompile"].b:
            return True
        library = function.graph.as_graph_def().library
    except Exception:
        return False
    return any(f.attr["_XlaMustCompile"].b for f in library.function)


def _of_library(skip: int = 2) -> bool:
    """Whether the call that is being made is one of a `tf.function` that a library defines.

    The train function of Keras runs the user's step: it is no library's own. It is wrapped, lest
    AutoGraph converts it, and so may be a function of the user's.
    """
    from .stepper import file_of

    frame: Optional[FrameType] = sys._getframe(skip)
    for _ in range(_CALL_DEPTH):
        if frame is None:
            break
        owner = frame.f_locals.get("self")
        if frame.f_code.co_name == "__call__" and hasattr(owner, "python_function"):
            file = file_of(owner).replace("\\", "/")
            return not (is_user_file(file) or file.startswith("<") or file.endswith(_NOT_OWN))
        frame = frame.f_back
    return False
