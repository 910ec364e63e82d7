"""Run op by op what TensorFlow would run as a graph even in eager mode, and count its loops."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterator, List, Tuple

from ..case.entry import brief

MAX_TURNS = 1024
"""A vectorized map over more elements than this stays one graph: it would take too long."""


class Loops:
    """Which turn of which TensorFlow loops is being executed, outermost first."""

    def __init__(self) -> None:
        self.turns: List[int] = []
        self.needs_tapes_kept = False
        """Whether a loop takes more gradients from a tape than it allows (a jacobian)."""

    @contextlib.contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Within the block, one more loop is in this turn."""
        self.turns.append(number)
        try:
            yield
        finally:
            self.turns.pop()

    def described(self) -> str:
        """Say it for the name of an op; empty outside loops."""
        return ", ".join("iteration %d" % n for n in self.turns)


@contextlib.contextmanager
def op_by_op(loops: Loops, outside: Any, degradations: List[str]) -> Iterator[None]:
    """Replace vectorized maps, converted functions and NumPy calls.

    Parameters
    ----------
    loops : Loops
        Told about every turn of a loop.
    outside : Trace
        Called like an op callback for each NumPy function, which is no op in eager mode; told when
        the Python function of an op is entered.
    degradations : list of str
        Takes what this TensorFlow does not allow.
    """
    with contextlib.ExitStack() as stack:
        for missing, part in _PARTS:
            try:
                stack.enter_context(part(loops, outside))
            except (ImportError, AttributeError) as error:
                degradations.append("%s (%s)" % (missing, brief(error)))
        yield


@contextlib.contextmanager
def _replaced(module: Any, name: str, wrap: Callable[[Any], Any]) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, wrap(original))
    try:
        yield
    finally:
        setattr(module, name, original)


def _while_loops(loops: Loops, outside: Any) -> Any:
    """Count the turns of while loops, of maps and scans made of them, and of recurrent layers."""
    from tensorflow.python.ops import while_loop as module

    def wrap(original: Any) -> Any:
        def while_loop(cond: Any, body: Any, *args: Any, **kwargs: Any) -> Any:
            count = [0]

            def counted(*variables: Any, **more: Any) -> Any:
                with loops.turn(count[0]):
                    count[0] += 1
                    return body(*variables, **more)

            return original(cond, counted, *args, **kwargs)

        return while_loop

    return _replaced(module, "while_loop", wrap)


def _vectorized_maps(loops: Loops, outside: Any) -> Any:
    """Run vectorized maps (and jacobians) turn by turn."""
    from tensorflow.python.ops.parallel_for import control_flow_ops as module

    def wrap(original: Any) -> Any:
        def pfor(loop_fn: Any, iters: Any, *args: Any, **kwargs: Any) -> Any:
            import tensorflow as tf

            plain = tf.executing_eagerly() and not _wants_config(loop_fn)
            turns = int(iters) if plain else 0
            if _needs_one_trace(loop_fn):
                loops.needs_tapes_kept, turns = True, 0
            if not 0 < turns <= MAX_TURNS:
                return original(loop_fn, iters, *args, **kwargs)
            made = []
            for number in range(turns):
                with loops.turn(number):
                    made.append(loop_fn(tf.constant(number)))
            return tf.nest.map_structure(_stacked, *made)

        return pfor

    return _replaced(module, "pfor", wrap)


def _stacked(*parts: Any) -> Any:
    import tensorflow as tf

    return None if parts[0] is None else tf.stack(parts)


def _wants_config(loop_fn: Any) -> bool:
    """Whether the body asks for what only the vectorized form can tell it."""
    code = getattr(loop_fn, "__code__", None)
    return code is not None and "pfor_config" in code.co_varnames[: code.co_argcount]


def _needs_one_trace(loop_fn: Any) -> bool:
    """Whether the body takes gradients from a tape that allows only one (a jacobian)."""
    for cell in getattr(loop_fn, "__closure__", None) or ():
        tape = cell.cell_contents
        if hasattr(tape, "_persistent") and not tape._persistent:
            return True
    return False


def _plain_python(loops: Loops, outside: Any) -> Any:
    """Run functions as they are written, and not as autograph converts them."""
    from tensorflow.python.autograph.core import ag_ctx

    return ag_ctx.ControlStatusCtx(status=ag_ctx.Status.DISABLED)


def _numpy_functions(loops: Loops, outside: Any) -> Any:
    """Report NumPy functions, which are no ops in eager mode."""
    from tensorflow.python.ops import script_ops as module

    def wrap(original: Any) -> Any:
        def py_func_common(func: Any, inp: Any, *args: Any, **kwargs: Any) -> Any:
            import tensorflow as tf

            result = original(func, inp, *args, **kwargs)
            if tf.executing_eagerly():
                made = result if isinstance(result, (list, tuple)) else [result]
                outside("PyFunc", list(inp), (), list(made))
            return result

        return py_func_common

    return _replaced(module, "py_func_common", wrap)


def _python_functions(loops: Loops, outside: Any) -> Any:
    """Tell when the Python function of an op is entered and left."""
    from tensorflow.python.ops.script_ops import EagerFunc

    def wrap(original: Any) -> Any:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            leaving = outside.entering()
            try:
                return original(self, *args, **kwargs)
            finally:
                leaving()

        return call

    return _replaced(EagerFunc, "__call__", wrap)


_PARTS: Tuple[Tuple[str, Any], ...] = (
    ("the turns of while loops are not counted", _while_loops),
    ("a vectorized map counts as one op", _vectorized_maps),
    ("functions run as autograph converted them", _plain_python),
    ("what a Python function does counts as one op", _python_functions),
    ("a NumPy function is not told from a constant", _numpy_functions),
)
"""What is lost where this TensorFlow lacks something private, and what needs it."""
