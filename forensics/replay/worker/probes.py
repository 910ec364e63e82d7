"""Which private parts of TensorFlow and Keras the instruments find here, and what is lost without.

None of them is promised by TensorFlow. Each is looked for once, by use of what it is needed for;
what is missing costs an instrument or a detail, and the report says which.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from .keras_family import keras_api
from .tracing import layer_calls

OP_CALLBACKS = "op_callbacks"
GRADIENT_FRAMES = "backprop._gradient_function"
LAYER_PATH = "current_path"
DEBUG_DUMP = "debug_events_reader"
INLINING = "_run_inline_graph_optimization"
FUNCTION_CALLS = "ConcreteFunction._call_flat"


class Probe:
    """One private part: how it is found, and what the report says where it is not.

    Parameters
    ----------
    find : callable
        Returns the part; raises where this version has none.
    loss : str
        What the instruments cannot do without it, and what is done instead.
    """

    def __init__(self, find: Callable[[], Any], loss: str) -> None:
        self.find, self.loss = find, loss


def _op_callbacks() -> Any:
    from tensorflow.python.framework import op_callbacks

    assert callable(op_callbacks.add_op_callback) and callable(op_callbacks.remove_op_callback)
    return op_callbacks


def _gradient_function() -> Any:
    from tensorflow.python.eager import backprop

    code = backprop._gradient_function.__code__
    missing = {"op_name", "inputs", "outputs"} - set(code.co_varnames)
    assert not missing, "its arguments have other names"
    return backprop._gradient_function


def _layer_path() -> Any:
    try:
        from keras.src.backend.common.name_scope import current_path
    except ImportError:
        if not keras_api.old_is_loaded():
            raise
        return layer_calls.path_here
    assert isinstance(current_path(), str)
    return current_path


def _debug_reader() -> Any:
    from tensorflow.python.debug.lib.debug_events_reader import DebugDataReader

    for method in ("graph_execution_traces", "graph_by_id", "read_graph_op_creation_stack_trace"):
        assert callable(getattr(DebugDataReader, method))
    return DebugDataReader


def _inlining() -> Any:
    from tensorflow.python.framework.convert_to_constants import _run_inline_graph_optimization

    return _run_inline_graph_optimization


def _function_calls() -> Any:
    from tensorflow.python.eager.polymorphic_function.concrete_function import ConcreteFunction

    assert callable(ConcreteFunction._call_flat)
    return ConcreteFunction


PROBES: Dict[str, Probe] = {
    OP_CALLBACKS: Probe(
        _op_callbacks,
        "the step could not be traced op by op; the op is named by a debug dump or by "
        "enable_check_numerics instead",
    ),
    GRADIENT_FRAMES: Probe(
        _gradient_function,
        "ops of the backward pass are named without the forward op that they differentiate",
    ),
    LAYER_PATH: Probe(
        _layer_path, "layers are known by the name scopes of graph ops only, not while ops run"
    ),
    DEBUG_DUMP: Probe(
        _debug_reader,
        "no debug dump could be read: a failure that only the graph shows is named by "
        "enable_check_numerics instead",
    ),
    INLINING: Probe(
        _inlining, "functions restored without their program were not looked into"
    ),
    FUNCTION_CALLS: Probe(
        _function_calls,
        "the mode of the step is what model and functions are configured for, and random ops of "
        "graphs are not named",
    ),
}  # fmt: skip

_found: Dict[str, Any] = {}
_missing: Dict[str, str] = {}


def part(name: str) -> Any:
    """Return a private part by its name; None where this version has none."""
    if name not in _found:
        try:
            _found[name] = PROBES[name].find()
        except Exception as error:
            _found[name] = None
            said = str(error) or type(error).__name__
            _missing[name] = "%s is not in this version (%s): %s" % (
                name, said[:120], PROBES[name].loss
            )  # fmt: skip
    return _found[name]


def degradations() -> List[str]:
    """Sentences on every private part that was asked for and is missing."""
    return [_missing[name] for name in PROBES if name in _missing]


def forget() -> None:
    """Look again at the next question."""
    _found.clear()
    _missing.clear()
