"""Give a step that runs op by op the values that XLA computes, where those are not finite.

Some ops answer NaN under XLA and something finite, or an error, without it: `SqrtGrad` of 0 and 0,
labels out of range. Each op of the eager step is compiled on its own and run on the operands it
had; where only the compiled one is bad, its answer replaces the eager one. The trace then follows
the failure as the compiled step has it. What only the fusion of several ops does is not seen.
"""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Optional, Tuple

from . import arrays
from .trace import value_of

_HANDLES = ("resource", "variant", "string")


class Compiled:
    """Callback that compiles each op by itself; ops with the same types and shapes once.

    Attributes
    ----------
    replaced : list of str
        Types of the ops whose answer was replaced.
    """

    def __init__(self) -> None:
        self.replaced: List[str] = []
        self.tried = 0
        self._cache: Dict[Any, Any] = {}
        self._busy = False

    def __call__(
        self, op_type: Any, inputs: Any, attrs: Any, outputs: Any, op_name: Any = None,
        graph: Any = None,
    ) -> None:  # fmt: skip
        """Look at one op; called by TensorFlow right after it ran, before the trace is."""
        if graph is not None or self._busy or not inputs:
            return
        self._busy = True
        try:
            name = op_type.decode() if isinstance(op_type, bytes) else str(op_type)
            self._compare(name, list(inputs), attrs, list(outputs or ()))
        finally:
            self._busy = False

    def _compare(self, op_type: str, inputs: List[Any], attrs: Any, outputs: List[Any]) -> None:
        answers = [value_of(t) for t in outputs]
        if not any(a is not None and arrays.is_float(a) for a in answers):
            return
        if any(t.dtype.name in _HANDLES for t in inputs) or _bad(answers):
            return
        if _bad([value_of(t) for t in inputs]):
            return
        compiled = self._run(op_type, inputs, attrs)
        if compiled is None or len(compiled) != len(answers):
            return
        for answer, other in zip(answers, map(value_of, compiled)):
            if answer is None or other is None or answer.shape != other.shape:
                continue
            if arrays.badness(other):
                # the tensor's own buffer, so that the tape sees it too
                answer[...] = other
                self.replaced.append(op_type)

    def _run(self, op_type: str, inputs: List[Any], attrs: Any) -> Optional[List[Any]]:
        key = (op_type, repr(attrs), tuple((t.dtype, tuple(t.shape)) for t in inputs))
        try:
            if key not in self._cache:
                self._cache[key] = _compile(op_type, attrs)
            if self._cache[key] is None:
                return None
            self.tried += 1
            found = self._cache[key](*inputs)
        except Exception:
            self._cache[key] = None
            return None
        return list(found) if isinstance(found, (list, tuple)) else [found]


@contextlib.contextmanager
def as_compiled() -> Iterator[Compiled]:
    """Replace what eager ops answer by what XLA answers, where only that is bad, in the block."""
    from tensorflow.python.framework import op_callbacks

    callback = Compiled()
    op_callbacks.add_op_callback(callback)
    try:
        yield callback
    finally:
        op_callbacks.remove_op_callback(callback)


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Run ops of the instrument's own that no callback is to hear of, within the block.

    The list of callbacks is being gone through by TensorFlow: another one stands in for it.
    """
    from tensorflow.python.eager import context

    local = context.context()._thread_local_data
    callbacks, local.op_callbacks = local.op_callbacks, []
    try:
        yield
    finally:
        local.op_callbacks = callbacks


def _bad(values: List[Any]) -> bool:
    return any(v is not None and arrays.badness(v) for v in values)


def _compile(op_type: str, attrs: Any) -> Any:
    """Make a function of one op; None for ops with a state or without a definition."""
    import tensorflow as tf
    from tensorflow.python.framework import op_def_library, op_def_registry

    definition = op_def_registry.get(op_type)
    if definition is None or definition.is_stateful:
        return None
    flat = tuple(attrs or ())
    given = {str(k): v for k, v in zip(flat[::2], flat[1::2])}
    inferred = {
        name
        for arg in definition.input_arg
        for name in (arg.type_attr, arg.number_attr, arg.type_list_attr)
        if name
    }
    fixed = {k: v for k, v in given.items() if k not in inferred and not k.startswith("_")}

    def call(*tensors: Any) -> Any:
        named = dict(_arguments(definition, given, tensors))
        return op_def_library.apply_op(op_type, **named, **fixed)

    # autograph has nothing to convert here, and op by op must not apply to this function
    compiled = tf.function(call, jit_compile=True, autograph=False)

    def run(*tensors: Any) -> Any:
        eager = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(False)
        try:
            with _unheard():
                return compiled(*tensors)
        finally:
            tf.config.run_functions_eagerly(eager)

    return run


def _arguments(
    definition: Any, attrs: Dict[str, Any], tensors: Tuple[Any, ...]
) -> Iterator[Tuple[str, Any]]:
    """Arguments of an op by name: lists of tensors are flat in a callback."""
    position = 0
    for argument in definition.input_arg:
        if argument.number_attr:
            count = int(attrs[argument.number_attr])
        elif argument.type_list_attr:
            count = len(attrs[argument.type_list_attr])
        else:
            yield argument.name, tensors[position]
            position += 1
            continue
        yield argument.name, list(tensors[position : position + count])
        position += count
