"""Words about an op and its operands, fit for an issue."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .. import arrays
from .failing_op import FailingOp

_MOST = 700
"""Characters that the list of operands may take."""


def described(op: FailingOp, output: Any) -> str:
    """Versions, op, operands with their ranges, dtype and shape of the answer."""
    operands = ", ".join(
        "%s %s%s %s" % (name, value.dtype.name, list(value.shape), _range(value))
        for name, value in zip(op.call.names(), op.values)
    )
    if len(operands) > _MOST:
        operands = operands[:_MOST] + " ..."
    return "%s%s(%s) -> %s%s:" % (
        versions(), op.call.op_type, operands, output.dtype.name, list(output.shape)
    )  # fmt: skip


def versions() -> str:
    """TensorFlow and Python, with a colon."""
    import tensorflow as tf

    return "TensorFlow %s, Python %s: " % (tf.__version__, sys.version.split()[0])


def held(array: Any) -> str:
    """Say what an output holds: counts of NaN and Inf, or its range."""
    if array is None:
        return "no array"
    stats = arrays.statistics("", array)
    bad = [(stats["nan"], "NaN"), (stats["pos_inf"], "Inf"), (stats["neg_inf"], "-Inf")]
    if array.dtype.kind == "c":
        bad = [(int(arrays.bad_mask(array).sum()), "non-finite")]
    said = ", ".join("%d %s" % pair for pair in bad if pair[0])
    if said:
        return "%s of %d" % (said, array.size)
    if array.size == 1:
        return "%.9g" % real(array.reshape(-1)[0])
    return "finite, %.4g to %.4g" % (stats["min"], stats["max"])


def real(value: Any) -> float:
    """Return a number as a float; of a complex one its real part."""
    return float(value.real) if np.iscomplexobj(value) else float(value)


def kinds(bits: int) -> str:
    """Name the kinds of bad values."""
    named = [(arrays.NAN, "NaN"), (arrays.POS, "Inf"), (arrays.NEG, "-Inf")]
    return " and ".join(word for bit, word in named if bits & bit)


def _range(value: Any) -> str:
    stats = arrays.statistics("", value)
    if not value.size or np.isnan(stats["min"]):
        return held(value) if arrays.is_float(value) and value.size else ""
    said = "in [%.9g, %.9g]" % (stats["min"], stats["max"])
    bad = stats["nan"] + stats["pos_inf"] + stats["neg_inf"]
    return said + (" with %d non-finite" % bad if bad else "")
