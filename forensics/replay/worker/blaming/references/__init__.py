"""What an op should answer, in float64 NumPy: written from the ops' documented formulas.

Nothing here calls TensorFlow. Each table maps an op type to ``formula(inputs, attrs)``, which gets
the operands in float64 (complex128; integers and flags as they are) and returns the first output.
"""

from __future__ import annotations

from typing import Any, Dict, Sequence

import numpy as np

from . import elementwise, gradients, linear, losses, reductions, updates

MAX_ELEMENTS = 20_000_000
"""Operands larger than this together are not worked out again: float64 would take their memory
twice over."""

TABLE: Dict[str, Any] = {
    **elementwise.TABLE,
    **reductions.TABLE,
    **linear.TABLE,
    **losses.TABLE,
    **gradients.TABLE,
    **updates.TABLE,
}


class NoReference(Exception):
    """There is no reference for the question; the message says why."""


def reference(op_type: str, values: Sequence[Any], attrs: Dict[str, Any], slot: int = 0) -> Any:
    """Work out one output of an op in double precision.

    Parameters
    ----------
    op_type : str
        As registered in TensorFlow.
    values : list of array
        Its operands; in-place ops get the variable's value in the place of its handle.
    attrs : dict
        Attributes that differ from their defaults, as Python values.
    slot : int
        Which output.

    Returns
    -------
    array
        float64 or complex128.

    Raises
    ------
    NoReference
        When there is no formula for the op or for this output, or it does not fit the operands.
    """
    formula = TABLE.get(op_type)
    if formula is None:
        raise NoReference("there is no NumPy reference for %s" % op_type)
    if sum(int(np.size(v)) for v in values) > MAX_ELEMENTS:
        raise NoReference("the operands are too large to be worked out again in NumPy")
    try:
        with np.errstate(all="ignore"):
            answer = formula([widened(v) for v in values], attrs)
    except Exception as error:
        why = "the NumPy reference for %s does not fit (%s)" % (op_type, error)
        raise NoReference(why) from error
    if isinstance(answer, tuple):
        if slot < len(answer):
            return answer[slot]
    elif slot == 0:
        return answer
    raise NoReference("there is no NumPy reference for output %d of %s" % (slot, op_type))


def widened(value: Any) -> Any:
    """Return floats as float64 and complex numbers as complex128; everything else as it is."""
    array = np.asarray(value)
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    if array.dtype.kind == "f" or (array.dtype.kind == "V" and "float" in array.dtype.name):
        return array.astype(np.float64)
    return array
