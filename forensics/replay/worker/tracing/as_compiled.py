"""Give a step that runs op by op the values that its compiled form computes, where those are bad.

Some ops answer NaN under XLA and something finite, or an error, without it: `SqrtGrad` of 0 and 0,
labels out of range. And both XLA and Grappler rewrite ops that follow one another: x / y / y
becomes x / (y * y), whose denominator underflows. Each op of the eager step is compiled, alone or
with those that made its operands, and run on the operands that it had; where only the compiled
answer is bad, it replaces the eager one. The trace then follows the failure as the compiled step
has it.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any, Dict, Iterator, List, Tuple

from .. import arrays
from .programs import HANDLES, Executed, Program, is_pure
from .tensors import value_of

ALONE, WITH_PRODUCERS = 0, 3
"""How far back the producers of an op's operands are compiled with it."""
SECONDS = 120.0
"""Time for compiling, all passes of a trace together."""
KEPT_BYTES = 1 << 30
"""Operands are kept alive up to this size, to compile what reads them with their producers."""


class Compiled:
    """Callback that compiles each op; programs with the same ops, types and shapes once.

    Parameters
    ----------
    jit : bool
        Compile with XLA; otherwise make a graph, which Grappler rewrites.
    depth : int
        `ALONE`, or how many producers back belong to a program.

    Attributes
    ----------
    replaced : list of str
        Ops of the programs whose answer was replaced, in the order they ran.
    tried : int
        Programs that were compiled.
    in_time : bool
        Whether all of them could be tried.
    """

    def __init__(self, jit: bool, depth: int) -> None:
        self.jit, self.depth = jit, depth
        self.replaced: List[str] = []
        self.in_time = True
        self._deadline = time.monotonic() + SECONDS
        self._cache: Dict[Any, Any] = {}
        self._makers: Dict[int, Tuple[Executed, int]] = {}
        self._kept = 0

    @property
    def tried(self) -> int:
        """How many different programs were compiled."""
        return len(self._cache)

    def __call__(
        self, op_type: Any, inputs: Any, attrs: Any, outputs: Any, op_name: Any = None,
        graph: Any = None,
    ) -> None:  # fmt: skip
        """Look at one op; called by TensorFlow right after it ran, before the trace is."""
        name = op_type.decode() if isinstance(op_type, bytes) else str(op_type)
        if graph is not None or not inputs or not is_pure(name):
            return
        if any(t.dtype.name in HANDLES for t in (*inputs, *outputs)):
            return
        executed = Executed(name, attrs, list(inputs))
        answers = [value_of(t) for t in outputs]
        if any(a is not None and arrays.is_float(a) for a in answers) and not _bad(answers):
            self._compare(executed, answers)
        self._keep(executed, outputs)

    def _keep(self, executed: Executed, outputs: Any) -> None:
        self._kept += sum(a.nbytes for a in map(value_of, outputs) if a is not None)
        if self.depth and self._kept < KEPT_BYTES:
            for slot, tensor in enumerate(outputs):
                self._makers[tensor._id] = (executed, slot)

    def _compare(self, executed: Executed, answers: List[Any]) -> None:
        if _bad([value_of(t) for t in executed.inputs]):
            return
        program = Program(executed, self._makers, self.depth)
        compiled = self._run(program)
        if len(compiled) != len(answers):
            return
        for answer, other in zip(answers, map(value_of, compiled)):
            if answer is None or other is None or answer.shape != other.shape:
                continue
            if arrays.badness(other):
                # the tensor's own buffer, so that the tape sees it too
                answer[...] = other
                self.replaced.append(program.names)

    def _run(self, program: Program) -> List[Any]:
        """Run the compiled program; nothing when it cannot be compiled, or no time is left."""
        key = program.key
        if key not in self._cache:
            if time.monotonic() > self._deadline:
                self.in_time = False
                return []
            self._cache[key] = program.compiled(self.jit)
        try:
            with _unheard():
                found = self._cache[key](*program.given) if self._cache[key] else []
        except Exception:
            self._cache[key] = None
            return []
        return list(found)


@contextlib.contextmanager
def as_compiled(jit: bool, depth: int) -> Iterator[Compiled]:
    """Replace what eager ops answer by what they do compiled, where only that is bad."""
    from tensorflow.python.framework import op_callbacks

    callback = Compiled(jit, depth)
    op_callbacks.add_op_callback(callback)
    try:
        yield callback
    finally:
        op_callbacks.remove_op_callback(callback)


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Run ops of the instrument's own, compiled, that no callback is to hear of, in the block.

    The list of callbacks is being gone through by TensorFlow: another one stands in for it.
    """
    import tensorflow as tf
    from tensorflow.python.eager import context

    local = context.context()._thread_local_data
    callbacks, local.op_callbacks = local.op_callbacks, []
    eager = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(False)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(eager)
        local.op_callbacks = callbacks


def _bad(values: List[Any]) -> bool:
    return any(v is not None and arrays.badness(v) for v in values)
