"""What it means, in one sentence, that an op made a NaN or an Inf of finite numbers.

The domains are those of the mathematical functions; the overflow limits of the dtypes are IEEE 754
(float16: 65504, float32: 3.4e38) and bfloat16's (3.39e38). The statistics of the operands decide
between several readings where the report holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from forensics.report.numbers import number

Stats = Mapping[str, Any]

LARGEST = {"float16": 65504.0, "bfloat16": 3.39e38, "float32": 3.403e38, "float64": 1.798e308}

_GENERAL = {
    "Log": "the logarithm of 0 is −Inf and that of a negative number is NaN",
    "Log1p": "log(1 + x) is −Inf at x = −1 and NaN below",
    "Sqrt": "the square root of a negative number is NaN",
    "Rsqrt": "1/√x is Inf at 0 and NaN below",
    "Reciprocal": "1/x is Inf at 0",
    "Pow": "a power overflows, or is NaN for a negative base with a fractional exponent",
    "Exp": "exp(x) overflows float32 above x ≈ 88.7 (float16: above 11.1)",
    "Expm1": "exp(x) − 1 overflows float32 above x ≈ 88.7 (float16: above 11.1)",
    "Sinh": "sinh overflows float32 beyond |x| ≈ 89.4",
    "Cosh": "cosh overflows float32 beyond |x| ≈ 89.4",
    "Tan": "tan grows without bound near odd multiples of π/2",
    "Square": "the square overflows float32 beyond |x| ≈ 1.8e19 (float16: beyond 256)",
    "Acos": "acos is NaN outside [−1, 1]",
    "Asin": "asin is NaN outside [−1, 1]",
    "Atanh": "atanh is Inf at ±1 and NaN beyond",
    "Acosh": "acosh is NaN below 1",
    "Lgamma": "log Γ is Inf at 0 and at the negative whole numbers",
    "Digamma": "digamma has a pole at 0 and at the negative whole numbers",
    "Cast": "the value does not fit the smaller dtype",
    "Cholesky": "the matrix is not positive definite",
    "MatrixInverse": "the matrix is singular or nearly so",
    "SelfAdjointEigV2": "the decomposition did not converge or the matrix holds huge values",
    "Svd": "the decomposition did not converge or the matrix holds huge values",
}
_DIVISION = {"Div", "RealDiv", "Xdivy", "FloorDiv", "Mod", "FloorMod", "TruncateDiv"}
_SUMS = {
    "MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "Conv1D", "Conv2D",
    "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "Conv2DBackpropFilter", "BiasAdd",
    "BiasAddGrad", "Sum", "Mean", "Cumsum", "AddN", "L2Loss", "Prod", "Mul", "Add", "AddV2", "Sub",
    "SquaredDifference",
}  # fmt: skip
_CROSS_ENTROPY = {
    "SoftmaxCrossEntropyWithLogits",
    "SparseSoftmaxCrossEntropyWithLogits",
    "Softmax",
    "LogSoftmax",
}
_UPDATES = ("ResourceApply", "Assign", "ResourceScatter")
# The slope of the forward op, where it is infinite while the op itself is finite.
_SLOPES = {
    "Sqrt": "the slope of √x at 0 is infinite, although √0 itself is finite",
    "Rsqrt": "the slope of 1/√x is infinite at 0",
    "Log": "the slope of log(x) is 1/x: infinite at 0",
    "Log1p": "the slope of log(1 + x) is infinite at x = −1",
    "Pow": "the slope of a power below 1 is infinite at 0, and log(0) enters that of the exponent",
    "Norm": "the slope of the norm of a vector of zeros is 0/0",
    "EuclideanNorm": "the slope of the norm of a vector of zeros is 0/0",
    "Acos": "the slope of acos is infinite at ±1",
    "Asin": "the slope of asin is infinite at ±1",
    "Atan2": "the slope of atan2 at (0, 0) is 0/0",
    "RealDiv": "the slope of a / b divides by b²: 0/0 or an overflow for a tiny b",
    "Div": "the slope of a / b divides by b²: 0/0 or an overflow for a tiny b",
    "SelectV2": "a branch that tf.where masks out still sends its NaN back (0 × Inf is NaN)",
    "Select": "a branch that tf.where masks out still sends its NaN back (0 × Inf is NaN)",
}


def _smallest(stats: Stats) -> str:
    share = f" ({number(stats['zero'])} of {number(stats['count'])} are 0)" if stats["zero"] else ""
    return f"the smallest value that went in is {number(stats['min'])}{share}"


def _largest(stats: Stats) -> str:
    return f"the largest value that went in is {number(stats['max'])}"


def _extremes(stats: Stats) -> str:
    return f"what went in lies in [{number(stats['min'])}, {number(stats['max'])}]"


_WATCHED: dict[str, Callable[[Stats], str]] = {
    **dict.fromkeys(("Log", "Log1p", "Sqrt", "Rsqrt", "Acosh"), _smallest),
    **dict.fromkeys(("Exp", "Expm1"), _largest),
    **dict.fromkeys(("Square", "Acos", "Asin", "Atanh", "Cast", "Sinh", "Cosh"), _extremes),
}


def explain(origin: Mapping[str, Any]) -> str:
    """Return what kind of failure the op of an ``origin`` is, "" for an unknown op."""
    op, phase = origin["op_type"], origin["phase"]
    if phase == "input" or op is None:
        return _of_input(origin)
    if origin["raised"]:
        return f"{op} refused its operands and raised an error instead of answering."
    if phase == "state":
        return "This value was bad before the step began: it came with the restored state."
    slope = _SLOPES.get(origin["forward_op_type"] or "")
    if phase == "backward" and slope:
        return _sentence(f"the gradient of {origin['forward_op_type']}: {slope}")
    return _sentence(_of_op(op, origin["inputs"], origin["dtype"], phase))


def _of_input(origin: Mapping[str, Any]) -> str:
    if not origin["input"]:
        return "The value was bad before any op ran."
    rows = origin["input"]["rows"]
    where = f", in {len(rows)} of its rows" if rows else ""
    return f"No op made it: {origin['input']['name']} itself holds NaN or Inf{where}."


def _of_op(op: str, operands: list[Stats], dtype: str | None, phase: str) -> str:
    first = operands[0] if operands else None
    if op in _GENERAL:
        measured = f"; {_WATCHED[op](first)}" if first and op in _WATCHED else ""
        return _GENERAL[op] + measured
    if op in _DIVISION:
        return _of_division(operands)
    if op in _CROSS_ENTROPY:
        return "the logits are too large, or a label is no class" + (
            f"; {_extremes(first)}" if first else ""
        )
    if op in _SUMS:
        return _of_overflow(op, operands, dtype)
    if op.startswith("FusedBatchNorm"):
        return "the variance of the batch overflowed, or is negative"
    if op.startswith(_UPDATES) or phase == "optimizer":
        return "the update made a weight or a slot non-finite although the gradient was finite"
    if op.endswith("Grad"):
        return f"the gradient of {op.removesuffix('Grad')} is not finite at these values"
    return ""


def _of_division(operands: list[Stats]) -> str:
    divisor = operands[1] if len(operands) > 1 else None
    if divisor is not None and divisor["zero"]:
        of = f"{number(divisor['zero'])} of {number(divisor['count'])}"
        return f"a division by zero: {of} divisors are 0 (a/0 is Inf, 0/0 is NaN)"
    if divisor is not None:
        return f"the quotient overflows: divisors lie in [{number(divisor['min'])}, " + (
            f"{number(divisor['max'])}]"
        )
    return "a division by zero (a/0 is Inf, 0/0 is NaN) or by a tiny number"


def _of_overflow(op: str, operands: list[Stats], dtype: str | None) -> str:
    limit = LARGEST.get(dtype or "")
    beyond = f" {dtype}, whose largest number is {number(limit)}" if limit else " its dtype"
    sizes = [max(abs(s["min"]), abs(s["max"])) for s in operands if s["count"]]
    measured = f"; operands reach {number(max(sizes), 3)}" if sizes else ""
    return f"finite operands of {op} add or multiply up to more than{beyond}{measured}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "." if text else ""
