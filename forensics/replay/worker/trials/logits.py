"""A logarithm of probabilities computed from the logits, together with the softmax or sigmoid."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

from .change import Change, Unfit
from .rewriting import Place, operands_of

_SOURCES = ("Softmax", "Sigmoid")
_CHOOSING = ("Identity", "Squeeze", "Reshape", "ExpandDims", "GatherNd", "GatherV2")
_DEEP = 4


class FromLogits(Change):
    """`log(softmax(z))` and its kin in one piece, where the origin is that logarithm.

    Parameters
    ----------
    origin : dict
        The origin as the report has it.
    """

    remedy, family = "from_logits", "logits"

    def __init__(self, origin: Optional[Dict[str, Any]]) -> None:
        ops = (origin or {}).get("op_type"), (origin or {}).get("forward_op_type")
        if origin is None or "Log" not in ops:
            raise Unfit("the first bad op is no logarithm")
        line = origin.get("source")
        layer = (origin.get("layer") or "").split("/")[-1] or None
        self.place = Place(
            ("Log",), line["file"] if line else None, line["line"] if line else None, layer
        )
        self.what = "log of probabilities computed from the logits"
        if line:
            self.what += " at line %d of %s" % (line["line"], line["file"])

    @contextlib.contextmanager
    def active(self) -> Iterator[List[bool]]:
        """Build another op where the logarithm would be built."""
        from tensorflow.python.eager import execute
        from tensorflow.python.framework import op_def_library
        from tensorflow.python.ops.array_ops import identity

        used: List[bool] = []
        helper, record = op_def_library._apply_op_helper, execute.record_gradient
        made: Dict[int, Any] = {}
        busy = [False]

        def build(op_type_name: str, name: Any = None, **keywords: Any) -> Any:
            if busy[0] or op_type_name != "Log" or not self.place.holds():
                return helper(op_type_name, name=name, **keywords)
            busy[0] = True
            try:
                found = _from_logits(keywords.get("x"))
            finally:
                busy[0] = False
            if found is None:
                return helper(op_type_name, name=name, **keywords)
            used.append(True)
            # the ops it is made of are on the tape: what is told of a `Log` must not be as well
            # (an Identity has the attribute that is asked of a `Log`)
            found = identity(found)
            made[id(found)] = found
            return None, None, found.op, [found]

        def recorded(op_name: Any, inputs: Any, attributes: Any, outputs: Any) -> Any:
            if any(id(output) in made for output in outputs):
                return None
            return record(op_name, inputs, attributes, outputs)

        op_def_library._apply_op_helper, execute.record_gradient = build, recorded
        try:
            with _Eagerly(self.place, used).active():
                yield used
        finally:
            op_def_library._apply_op_helper, execute.record_gradient = helper, record


class _Eagerly:
    """The same for ops that run at once: whose output a tensor is has to be noted."""

    def __init__(self, place: Place, used: List[bool]) -> None:
        self.place, self.used = place, used
        self.made: Dict[int, Tuple[str, Tuple[Any, ...]]] = {}
        self.busy = False

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        from tensorflow.python import pywrap_tfe

        original = pywrap_tfe.TFE_Py_FastPathExecute

        def execute(context: Any, op_type: str, name: Any, *args: Any) -> Any:
            if not self.busy and op_type == "Log" and self.place.holds():
                self.busy = True
                try:
                    found = _from_logits(args[0], self.made)
                finally:
                    self.busy = False
                if found is not None:
                    self.used.append(True)
                    return found
            result = original(context, op_type, name, *args)
            if op_type in (*_SOURCES, *_CHOOSING, "Sub"):
                count = len(operands_of(op_type))
                self.made[getattr(result, "_id", -1)] = (op_type, args[:count])
                if len(self.made) > 10_000:
                    self.made.clear()
            return result

        pywrap_tfe.TFE_Py_FastPathExecute = execute
        try:
            yield
        finally:
            pywrap_tfe.TFE_Py_FastPathExecute = original


Made = Dict[int, Tuple[str, Tuple[Any, ...]]]


def _from_logits(x: Any, made: Optional[Made] = None, deep: int = 0) -> Any:
    """Return the logarithm of probabilities from their logits; None: they were made otherwise."""
    import tensorflow as tf

    op_type, inputs = _maker(x, made)
    if op_type in _CHOOSING and deep < _DEEP:
        found = _from_logits(inputs[0], made, deep + 1)
        return None if found is None else _chosen(op_type, found, inputs, x)
    if op_type == "Softmax":
        return tf.nn.log_softmax(inputs[0])
    if op_type == "Sigmoid":
        return tf.math.log_sigmoid(inputs[0])
    if op_type == "Sub" and _is_one(inputs[0]):
        op_type, inner = _maker(inputs[1], made)
        if op_type == "Sigmoid":
            return tf.math.log_sigmoid(-inner[0])
    return None


def _chosen(op_type: str, found: Any, inputs: Tuple[Any, ...], x: Any) -> Any:
    """Take of the logarithms what was taken of the probabilities."""
    import tensorflow as tf

    if op_type == "Identity":
        return found
    if op_type in ("Reshape", "Squeeze", "ExpandDims"):
        return tf.reshape(found, tf.shape(x))
    if op_type == "GatherNd":
        return tf.gather_nd(found, inputs[1])
    if isinstance(getattr(x, "op", None), tf.Operation):
        batch_dims = int(x.op.get_attr("batch_dims"))
        axis = tf.get_static_value(inputs[2])
        if axis is not None:
            return tf.gather(found, inputs[1], axis=int(axis), batch_dims=batch_dims)
    return None


def _maker(x: Any, made: Optional[Made]) -> Tuple[Optional[str], Tuple[Any, ...]]:
    if made is not None:
        return made.get(getattr(x, "_id", -1), (None, ()))
    op = getattr(x, "op", None)
    return (op.type, tuple(op.inputs)) if op is not None else (None, ())


def _is_one(value: Any) -> bool:
    import tensorflow as tf

    try:
        known = tf.get_static_value(value) if tf.is_tensor(value) else np.asarray(value)
    except Exception:
        return False
    return known is not None and known.size == 1 and float(known) == 1.0
