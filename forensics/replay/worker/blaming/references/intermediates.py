"""How large the partial results of an op can become, whatever the order of its sums.

A kernel that overflows on the way to a result that would fit has a known limit of floating-point
arithmetic, unless its documentation promises more; it is no defect. The bounds are those of the
plain formula: sums of magnitudes, squares before the root, exponentials before the quotient.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Sequence

import numpy as np

from . import TABLE, widened

_SUMS = (
    "Sum", "Cumsum", "AddN", "AccumulateNV2", "SegmentSum", "SegmentSumV2", "UnsortedSegmentSum",
    "BiasAddGrad", "MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "Conv2D",
    "DepthwiseConv2dNative", "Conv2DBackpropFilter", "Conv2DBackpropInput",
    "ResourceScatterAdd",
)  # fmt: skip
CANCELLING = frozenset((
    "Cholesky", "CholeskyGrad", "MatrixInverse", "MatrixSolve", "MatrixSolveLs",
    "MatrixTriangularSolve", "TridiagonalSolve", "BandedTriangularSolve", "MatrixDeterminant",
    "LogMatrixDeterminant", "MatrixSquareRoot", "MatrixLogarithm", "MatrixExponential", "Lu",
    "Svd", "Qr", "Eig", "SelfAdjointEig", "SelfAdjointEigV2",
))  # fmt: skip
"""Decompositions, and what is worked out by one: on a matrix that is nearly singular their outcome
rests on differences of nearly equal numbers, and two precisions may differ about whether there is
one at all."""
_UNBOUNDED = (
    "Prod", "Cumprod", "ResourceApplyAdam",
    "ResourceApplyRMSProp", "ResourceApplyAdagrad", "ResourceApplyAdagradV2",
    "ResourceApplyGradientDescent", "ResourceApplyMomentum", "ResourceApplyKerasMomentum",
    "ResourceScatterSub", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3",
    "FusedBatchNormGrad", "FusedBatchNormGradV2", "FusedBatchNormGradV3",
)  # fmt: skip


def largest_intermediate(op_type: str, values: Sequence[Any], attrs: Dict[str, Any]) -> float:
    """Bound the partial results of an op.

    Parameters
    ----------
    op_type : str
        As registered in TensorFlow.
    values, attrs : list of array, dict
        Its operands and attributes.

    Returns
    -------
    float
        0 where the op has no partial results to speak of, infinity where there is no bound.
    """
    wide = [widened(v) for v in values]
    with np.errstate(all="ignore"):
        if op_type in CANCELLING or op_type in _UNBOUNDED:
            return float("inf")
        if op_type in _SUMS:
            return _top(TABLE[op_type]([_magnitude(v) for v in wide], attrs))
        bound = _BOUNDS.get(op_type)
        if bound is not None:
            return bound(wide, attrs)
        if any(v.dtype.kind == "c" for v in wide):
            return max(_top(np.square(np.abs(v))) for v in wide)
    return 0.0


def _magnitude(value: Any) -> Any:
    return np.abs(value) if value.dtype.kind in "fc" else value


def _top(value: Any) -> float:
    parts = value if isinstance(value, tuple) else (value,)
    return max((float(np.max(np.abs(p))) for p in parts if np.size(p)), default=0.0)


def _sum_of(function: Callable[[Any], Any]) -> Callable[[List[Any], Dict[str, Any]], float]:
    return lambda wide, attrs: float(np.sum(function(np.abs(wide[0]))))


def _sum_of_reduced(wide: List[Any], attrs: Dict[str, Any]) -> float:
    return _top(TABLE["Sum"]([np.abs(wide[0]), wide[1]], attrs))


def _squares_reduced(wide: List[Any], attrs: Dict[str, Any]) -> float:
    return _top(TABLE["Sum"]([np.square(np.abs(wide[0])), wide[1]], attrs))


def _spread(wide: List[Any], attrs: Dict[str, Any]) -> float:
    """Differences of logits, and the sum of the exponentials."""
    logits = wide[0]
    finite = np.where(np.isfinite(logits), logits, 0.0)
    return max(_top(finite.max(-1) - finite.min(-1)), float(logits.shape[-1]))


def _powers_of_y(power: int) -> Callable[[List[Any], Dict[str, Any]], float]:
    def bound(wide: List[Any], attrs: Dict[str, Any]) -> float:
        y, dy = np.broadcast_arrays(np.abs(wide[0]), np.abs(wide[1]))
        return max(_top(y**power), _top(dy * y ** (power - 1)))

    return bound


_BOUNDS: Dict[str, Callable[[List[Any], Dict[str, Any]], float]] = {
    "Mean": _sum_of_reduced, "SegmentMean": _sum_of(lambda x: x), "L2Loss": _sum_of(np.square),
    "EuclideanNorm": _squares_reduced, "Softmax": _spread, "LogSoftmax": _spread,
    "SoftmaxCrossEntropyWithLogits": _spread, "SparseSoftmaxCrossEntropyWithLogits": _spread,
    "RsqrtGrad": _powers_of_y(3), "ReciprocalGrad": _powers_of_y(2), "InvGrad": _powers_of_y(2),
    "TanhGrad": _powers_of_y(2), "SqrtGrad": lambda wide, attrs: _top(wide[1]),
    "Sinh": lambda wide, attrs: _top(np.exp(np.abs(wide[0]))),
    "Cosh": lambda wide, attrs: _top(np.exp(np.abs(wide[0]))),
    "Acosh": lambda wide, attrs: _top(np.square(wide[0])),
    "Asinh": lambda wide, attrs: _top(np.square(wide[0])),
    "SquaredDifference": lambda wide, attrs: _top(wide[0] - wide[1]),
}  # fmt: skip
