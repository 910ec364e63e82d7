"""float32 in place of half precision, while steps are run."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterator, List, Optional

from .. import arrays
from ..case.entry import Case
from ..keras_family import keras_api
from ..stepping.state import SLOT, State
from ..tracing import frames
from ..tracing.layers import flat
from .change import Change, Unfit, replaced
from .rewriting import Operands, Rewriting

_HALVES = ("float16", "bfloat16")
_ASSIGNING = ("assign", "assign_add", "assign_sub", "_direct_assign")
_UNTOUCHED = (
    "Assign", "Resource", "Const", "Shape", "Read", "Var", "Tensor", "Placeholder", "If", "While",
    "Partitioned", "Stateful", "StatelessIf", "StatelessWhile", "Identity", "Debug", "Print",
    "Write", "Queue", "Iterator", "Optional", "Check", "Assert", "Fill",
)  # fmt: skip
"""Ops (by how their names begin) that go without: what they are given has to keep its dtype."""


class Float32(Change):
    """Layers, losses and casts compute in float32; half variables keep their dtype.

    Parameters
    ----------
    case, state : Case, State
        Of the program.
    origin_dtype : str or None
        Where the origin computes.
    batch : object
        Batch of the failing step.
    """

    remedy, family = "float32", "precision"
    comparable = True

    def __init__(self, case: Case, state: State, origin_dtype: Optional[str], batch: Any) -> None:
        self.layers = [x for m in models_of(case) for x in (m, *flat(m)) if _is_half(x)]
        halves = {v.resource.dtype.name for v in state.variables if v.role != SLOT}
        halves |= {array.dtype.name for _, array in arrays.leaves(batch)}
        halves |= {origin_dtype or ""}
        if not self.layers and not halves & set(_HALVES):
            raise Unfit("nothing computes in half precision")
        self.what = "float32 in place of half precision in layers, loss and casts"
        self.rewriting = _Widening()

    @contextlib.contextmanager
    def active(self) -> Iterator[List[bool]]:
        """Set the policies and widen what is cast."""
        with contextlib.ExitStack() as stack:
            for layer in self.layers:
                stack.enter_context(_computing_in_float32(layer))
            for loss in _losses():
                stack.enter_context(_computing_in_float32(loss))
            stack.enter_context(keras_api.float32_by_default())
            used = stack.enter_context(self.rewriting.active())
            if self.layers:
                used.append(True)
            yield used


def models_of(case: Case) -> List[Any]:
    """Keras models of a case."""
    candidates = [case.model, *case.restore.values()]
    return [m for i, m in enumerate(candidates) if hasattr(m, "layers") and m not in candidates[:i]]


def _is_half(layer: Any) -> bool:
    policy = getattr(layer, "dtype_policy", None)
    return getattr(policy, "compute_dtype", None) in _HALVES


@contextlib.contextmanager
def _computing_in_float32(thing: Any) -> Iterator[None]:
    with replaced(thing, **keras_api.float32_attributes(thing)):
        yield


def _losses() -> List[Any]:
    """Find the losses of Keras that are alive and compute in half precision."""
    import gc

    base = keras_api.loss_types()
    return [
        o
        for o in gc.get_objects()
        if issubclass(type(o), base) and getattr(o, "dtype", None) in _HALVES
    ]


class _Widening(Rewriting):
    """Casts to half precision end in float32, and half operands of other ops are widened."""

    def exchanged(self, op_type: str, operands: Callable[[], Operands]) -> Operands:
        if self._busy or not _may_widen(op_type):
            return {}
        self._busy = True
        try:
            if _updating():
                return {}
            given = operands()
            if op_type == "Cast":
                changed = {"DstT": _float32()} if _is_half_type(given.get("DstT")) else {}
            else:
                wide = {name: _widened(value) for name, value in given.items()}
                changed = {name: value for name, value in wide.items() if value is not None}
        finally:
            self._busy = False
        if changed:
            self.used.append(True)
        return changed


def _float32() -> Any:
    import tensorflow as tf

    return tf.float32


def _is_half_type(given: Any) -> bool:
    import tensorflow as tf

    try:
        return tf.as_dtype(given).name in _HALVES
    except TypeError:
        return False


def _may_widen(op_type: str) -> bool:
    return not op_type.startswith(_UNTOUCHED)


def _widened(value: Any) -> Optional[Any]:
    import tensorflow as tf

    if isinstance(value, (list, tuple)) and value and all(tf.is_tensor(v) for v in value):
        wide = [_widened(v) for v in value]
        if all(w is None for w in wide):
            return None
        return [v if w is None else w for v, w in zip(value, wide)]
    if not tf.is_tensor(value) or value.dtype not in (tf.float16, tf.bfloat16):
        return None
    return tf.cast(value, tf.float32)


def _updating() -> bool:
    """Whether an optimizer or an assignment is at work, which keep the dtype of their variable."""
    import sys

    frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if code.co_name in _ASSIGNING or frames.phase_of(code) == frames.OPTIMIZER:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
