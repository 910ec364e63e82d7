"""Gives chosen ops other operands while steps are run: the safe form of an op, made from outside.

In a graph every op is built by `op_def_library._apply_op_helper`; op by op, it runs through
`pywrap_tfe.TFE_Py_FastPathExecute`. Both are looked up in their modules at each call. What is
computed for the other operand are ops like all others, so that gradients go through it.
"""

from __future__ import annotations

import contextlib
from collections import namedtuple
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from ..tracing import frames
from .change import Unfit

Operands = Dict[str, Any]
Form = Callable[[str, Operands], Optional[Operands]]
"""Takes an op's type, its inputs and attributes by name; returns those to exchange, or None."""

_Code = namedtuple("_Code", ["co_filename", "co_name"])


class Place:
    """Where the ops are that are changed.

    Parameters
    ----------
    ops : tuple of str
        Types of the ops.
    file, line : str or None, int or None
        Innermost line of the user's program, where it is known.
    layer : str or None
        Name of the innermost layer, where there is no such line.
    """

    def __init__(
        self, ops: Tuple[str, ...], file: Optional[str], line: Optional[int], layer: Optional[str]
    ) -> None:
        self.ops, self.file, self.line, self.layer = ops, file, line, layer
        self.wide = False
        """Anywhere in the forward pass and the loss, because the line was not found."""

    def holds(self) -> bool:
        """Whether the op that is being made now is at this place."""
        phase, file, line = _here()
        if phase not in (frames.FORWARD, frames.LOSS):
            return False
        if self.wide:
            return True
        if self.line is not None:
            return (file, line) == (self.file, self.line)
        return self.layer is None or self.layer in frames.layer_path().split("/")


class Rewriting:
    """Operands that are exchanged at some places."""

    def __init__(self) -> None:
        self.rules: List[Tuple[Place, Form]] = []
        self.used: List[bool] = []
        self._busy = False

    def add(self, place: Place, form: Form) -> None:
        """Exchange operands at one more place."""
        self.rules.append((place, form))

    @contextlib.contextmanager
    def active(self) -> Iterator[List[bool]]:
        """Exchange operands within the block."""
        self.used.clear()
        with self._graphs(), self._eager():
            yield self.used

    def exchanged(self, op_type: str, operands: Callable[[], Operands]) -> Operands:
        """Return the operands to exchange of the op that is being made; empty: none."""
        if self._busy:
            return {}
        forms = [form for place, form in self.rules if op_type in place.ops and place.holds()]
        if not forms:
            return {}
        self._busy = True
        try:
            given: Operands = operands()
            changed: Operands = {}
            for form in forms:
                new = form(op_type, {**given, **changed})
                changed.update(new or {})
        finally:
            self._busy = False
        if changed:
            self.used.append(True)
        return changed

    @contextlib.contextmanager
    def _graphs(self) -> Iterator[None]:
        try:
            from tensorflow.python.framework import op_def_library

            original = op_def_library._apply_op_helper
        except (ImportError, AttributeError) as error:
            raise Unfit("this TensorFlow does not let ops be changed: %s" % error) from error

        def helper(op_type_name: str, name: Any = None, **keywords: Any) -> Any:
            changed = self.exchanged(op_type_name, lambda: dict(keywords))
            return original(op_type_name, name=name, **{**keywords, **changed})

        op_def_library._apply_op_helper = helper
        try:
            yield
        finally:
            op_def_library._apply_op_helper = original

    @contextlib.contextmanager
    def _eager(self) -> Iterator[None]:
        try:
            from tensorflow.python import pywrap_tfe

            original = pywrap_tfe.TFE_Py_FastPathExecute
        except (ImportError, AttributeError) as error:
            raise Unfit("this TensorFlow does not let ops be changed: %s" % error) from error

        def execute(context: Any, op_type: str, name: Any, *args: Any) -> Any:
            names: List[str] = []

            def operands() -> Operands:
                names.extend(operands_of(op_type))
                attributes = args[len(names) :]
                return {**dict(zip(names, args)), **dict(zip(attributes[::2], attributes[1::2]))}

            changed = self.exchanged(op_type, operands)
            if changed:
                args = _with(changed, names, args)
            return original(context, op_type, name, *args)

        pywrap_tfe.TFE_Py_FastPathExecute = execute
        try:
            yield
        finally:
            pywrap_tfe.TFE_Py_FastPathExecute = original


def _with(changed: Operands, names: List[str], args: Tuple[Any, ...]) -> Tuple[Any, ...]:
    """Arguments of an eager op, inputs by place and attributes as pairs, with some exchanged."""
    inputs = [_plain(changed.get(name, value)) for name, value in zip(names, args)]
    rest = list(args[len(names) :])
    for place in range(0, len(rest) - 1, 2):
        rest[place + 1] = changed.get(rest[place], rest[place + 1])
    return (*inputs, *rest)


def _plain(value: Any) -> Any:
    """Turn a variable of Keras into a tensor: the fast path would hand it to a slower one."""
    import tensorflow as tf

    if isinstance(value, tf.Tensor) or not hasattr(value, "shape") or not hasattr(value, "dtype"):
        return value
    return tf.convert_to_tensor(value)


def operands_of(op_type: str) -> List[str]:
    """Names of an op's inputs, in order."""
    from tensorflow.python.framework import op_def_registry

    return [argument.name for argument in op_def_registry.get(op_type).input_arg]


def _here() -> Tuple[str, Optional[str], Optional[int]]:
    """Phase and user's line of the op that is being made; lines of autograph are mapped back."""
    from tensorflow.python.util import tf_stack

    best, file, line = frames.FORWARD, None, None
    for frame in tf_stack.extract_stack():
        phase = frames.phase_of(_Code(frame.filename, frame.name))
        if frames.RANK[phase] > frames.RANK[best]:
            best = phase
        if frames.is_user_file(frame.filename):
            file, line = Path(frame.filename).name, frame.lineno
    return best, file, line
