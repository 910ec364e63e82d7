"""The float64 references against TensorFlow's own float64 kernels and against scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from forensics.replay.worker.blaming.references import TABLE, NoReference, reference, special
from forensics.replay.worker.blaming.references.intermediates import largest_intermediate

RNG = np.random.default_rng(7)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape)


def between(low: float, high: float, *shape: int) -> Any:
    return RNG.uniform(low, high, shape)


AXIS = np.array([1], np.int32)
SIZES = np.array([2, 5, 6, 3], np.int32)
SPD = np.array([[4.0, 1.0], [1.0, 3.0]])
SEGMENTS = np.array([0, 0, 1, 1], np.int32)
ON_POSITIVE = {
    "Log", "Sqrt", "Rsqrt", "Acosh", "Lgamma", "Digamma", "Inv", "Reciprocal", "Log1p",
}  # fmt: skip
INSIDE_ONE = {"Asin", "Acos", "Atanh", "Erfinv"}
ONE = [
    "Abs", "Neg", "Sign", "Square", "Exp", "Expm1", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh",
    "Tanh", "Asinh", "Sigmoid", "Softplus", "Softsign", "Relu", "Relu6", "Elu", "Selu", "Erf",
    "Erfc", "LeakyRelu", *sorted(ON_POSITIVE), *sorted(INSIDE_ONE), "Ndtri",
]  # fmt: skip
TWO = [
    "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "Pow", "SquaredDifference", "DivNoNan",
    "MulNoNan", "Xlogy", "Xlog1py", "Xdivy", "Atan2", "FloorMod", "SqrtGrad", "RsqrtGrad",
    "ReciprocalGrad", "TanhGrad", "SigmoidGrad", "SoftplusGrad", "SoftsignGrad", "ReluGrad",
    "Relu6Grad", "EluGrad", "SeluGrad", "LeakyReluGrad",
]  # fmt: skip
CONVOLUTION = {"strides": [1, 2, 1, 1], "padding": "SAME"}
OTHERS: list[tuple[str, list[Any], dict[str, Any]]] = [
    *[(op, [normal(3, 4), AXIS], {"keep_dims": True}) for op in ("Sum", "Mean", "Prod", "Max")],
    ("Min", [normal(3, 4), AXIS], {}),
    ("EuclideanNorm", [normal(3, 4), AXIS], {}),
    ("Cumsum", [normal(3, 4), np.int32(1)], {"reverse": True}),
    ("Cumprod", [normal(3, 4), np.int32(0)], {}),
    ("L2Loss", [normal(3, 4)], {}),
    ("SegmentSum", [normal(4, 2), SEGMENTS], {}),
    ("SegmentMean", [normal(4, 2), SEGMENTS], {}),
    ("UnsortedSegmentSum", [normal(4, 2), SEGMENTS, np.int32(3)], {}),
    ("BiasAdd", [normal(3, 4), normal(4)], {}),
    ("BiasAddGrad", [normal(2, 3, 4, 5)], {"data_format": "NCHW"}),
    ("AddN", [normal(3), normal(3), normal(3)], {}),
    ("ClipByValue", [normal(5), np.float64(-0.5), np.float64(0.5)], {}),
    ("SelectV2", [np.array([True, False]), normal(2), normal(2)], {}),
    ("MatMul", [normal(4, 3), normal(4, 5)], {"transpose_a": True}),
    ("BatchMatMulV2", [normal(2, 3, 4), normal(2, 5, 4)], {"adj_y": True}),
    ("Einsum", [normal(3, 4), normal(4, 5)], {"equation": "ij,jk->ik"}),
    ("Conv2D", [normal(2, 5, 6, 3), normal(3, 2, 3, 4)], CONVOLUTION),
    (
        "Conv2D",
        [normal(2, 9, 9, 3), normal(3, 3, 3, 2)],
        {"strides": [1, 1, 1, 1], "padding": "VALID", "dilations": [1, 2, 2, 1]},
    ),
    ("Conv2DBackpropInput", [SIZES, normal(3, 2, 3, 4), normal(2, 3, 6, 4)], CONVOLUTION),
    (
        "Conv2DBackpropFilter",
        [normal(2, 5, 6, 3), np.array([3, 2, 3, 4], np.int32), normal(2, 3, 6, 4)],
        CONVOLUTION,
    ),
    (
        "DepthwiseConv2dNative",
        [normal(2, 5, 6, 3), normal(3, 2, 3, 2)],
        {"strides": [1, 1, 1, 1], "padding": "SAME"},
    ),
    ("Softmax", [normal(3, 4)], {}),
    ("LogSoftmax", [normal(3, 4)], {}),
    ("SoftmaxCrossEntropyWithLogits", [normal(3, 4), between(0, 1, 3, 4)], {}),
    ("SparseSoftmaxCrossEntropyWithLogits", [normal(3, 4), np.array([0, 3, 1])], {}),
    ("Cholesky", [SPD], {}),
    ("MatrixInverse", [SPD], {}),
    ("MatrixDeterminant", [SPD], {}),
    ("LogMatrixDeterminant", [SPD], {}),
    ("MatrixSolve", [SPD, normal(2, 1)], {}),
    ("FusedBatchNormV3", [normal(2, 3, 3, 4), *[between(1, 2, 4) for _ in range(4)]], {}),
]  # fmt: skip


@pytest.mark.tf
def test_the_gradient_of_batch_normalisation() -> None:
    tf = pytest.importorskip("tensorflow")
    value, scale, above = normal(2, 3, 3, 4), between(1, 2, 4), normal(2, 3, 3, 4)
    x, s, o = (tf.constant(v, tf.float32) for v in (value, scale, np.zeros(4)))
    with tf.GradientTape() as tape:
        tape.watch([x, s, o])
        y = tf.raw_ops.FusedBatchNormV3(x=x, scale=s, offset=o, mean=[], variance=[])[0]
    found = tape.gradient(y, [x, s, o], output_gradients=tf.constant(above, tf.float32))
    zero = np.zeros(4)
    for slot, gradient in enumerate(found):
        exact = reference("FusedBatchNormGradV3", [above, value, scale, zero, zero], {}, slot)
        np.testing.assert_allclose(gradient, exact, rtol=1e-3, atol=1e-4)


def operands_of_one(op: str) -> list[Any]:
    if op in INSIDE_ONE:
        return [between(-0.99, 0.99, 5)]
    low = 1.1 if op == "Acosh" else 0.05
    return [between(low, 0.95 if op == "Ndtri" else 4.0, 5)] if op in {*ON_POSITIVE, "Ndtri"} else [
        normal(5) * 2
    ]  # fmt: skip


@pytest.mark.tf
def test_references_answer_what_the_float64_kernels_answer() -> None:
    from forensics.replay.worker.blaming.op_definition import call_of

    cases: list[tuple[str, list[Any], dict[str, Any]]] = []
    cases += [(op, operands_of_one(op), {}) for op in ONE]
    cases += [(op, [between(0.1, 0.9, 2, 3), between(0.1, 0.9, 3)[None]], {}) for op in TWO[:15]]
    cases += [(op, [between(0.1, 0.9, 6), between(0.1, 0.9, 6)], {}) for op in TWO[15:]]
    asked = set()
    for op, operands, attrs in [*cases, *OTHERS]:
        if op == "FusedBatchNormV3":
            # its kernel takes no float64
            operands = [o.astype(np.float32) for o in operands]
        call = call_of(op, attrs, operands, set())
        for slot, output in enumerate(call.run(operands)[:2]):
            try:
                exact = reference(op, operands, call.attrs, slot)
            except NoReference:
                assert slot == 1, op
                continue
            np.testing.assert_allclose(output, exact, rtol=2e-4, atol=1e-6, err_msg=op)
        asked.add(op)
    assert len(asked) >= 75


@given(st.floats(0.05, 1e6))
def test_special_functions_agree_with_scipy(x: float) -> None:
    np.testing.assert_allclose(special.lgamma(x), scipy.special.gammaln(x), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(special.digamma(x), scipy.special.digamma(x), rtol=1e-9, atol=1e-9)


@given(st.floats(-1, 1))
def test_the_inverse_error_function_agrees_with_scipy(x: float) -> None:
    np.testing.assert_allclose(special.erfinv(x), scipy.special.erfinv(x), rtol=1e-7, atol=1e-12)
    half = (x + 1) / 2
    np.testing.assert_allclose(special.ndtri(half), scipy.special.ndtri(half), rtol=1e-6, atol=1e-9)


def test_edges_that_have_no_finite_answer() -> None:
    zero, one = np.zeros(1), np.ones(1)
    assert np.isneginf(reference("Log", [zero], {}))
    assert np.isnan(reference("RealDiv", [zero, zero], {}))
    assert np.isposinf(reference("SqrtGrad", [zero, one], {}))
    assert reference("Xlogy", [zero, zero], {}) == 0
    assert np.isnan(reference("Softmax", [np.full((1, 3), -np.inf)], {})).all()
    assert np.isnan(reference("Mean", [np.zeros(0), np.array([0])], {}))
    wrong = [np.zeros((2, 3)), np.array([1, 5])]
    assert np.isnan(reference("SparseSoftmaxCrossEntropyWithLogits", wrong, {})).tolist() == [
        False,
        True,
    ]
    assert np.isnan(reference("Cholesky", [-np.eye(2)], {})).all()


def test_what_is_not_known_is_said() -> None:
    with pytest.raises(NoReference, match="no NumPy reference for Igamma"):
        reference("Igamma", [np.ones(1), np.ones(1)], {})
    with pytest.raises(NoReference, match="output 1 of Log"):
        reference("Log", [np.ones(1)], {}, slot=1)
    with pytest.raises(NoReference, match="does not fit"):
        reference("MatMul", [np.ones((2, 3)), np.ones((2, 3))], {})
    with pytest.raises(NoReference, match="too large"):
        reference("Log", [np.broadcast_to(np.float16(1), (10**5, 10**4))], {})


def test_updates_in_place_follow_their_formulas() -> None:
    var, row = np.zeros((3, 2)), np.array([2, 2])
    scattered = reference("ResourceScatterAdd", [var, row, np.ones((2, 2))], {})
    assert scattered.tolist() == [[0, 0], [0, 0], [2, 2]]
    scattered = reference("ResourceScatterSub", [var, row, np.ones(())], {})
    assert scattered.tolist() == [[0, 0], [0, 0], [-2, -2]]
    one = np.ones(1)
    assert reference("ResourceApplyGradientDescent", [one, np.float64(0.5), one], {}) == 0.5
    momentum = [one, one, np.float64(0.1), one, np.float64(0.9)]
    np.testing.assert_allclose(reference("ResourceApplyMomentum", momentum, {}), 0.81)
    np.testing.assert_allclose(reference("ResourceApplyKerasMomentum", momentum, {}), 1.8)
    adam = [one, 0 * one, 0 * one, *map(np.float64, (0.9, 0.999, 0.1, 0.9, 0.999, 0)), 5 * one]
    np.testing.assert_allclose(reference("ResourceApplyAdam", adam, {}), 0.9)
    np.testing.assert_allclose(reference("ResourceApplyAdam", adam, {}, 2), 0.025)
    rms = [one, 0 * one, 0 * one, *map(np.float64, (0.1, 0.75, 0, 0)), 5 * one]
    np.testing.assert_allclose(reference("ResourceApplyRMSProp", rms, {}), 0.8)
    adagrad = [one, 9 * one, np.float64(0.1), np.float64(0), 4 * one]
    np.testing.assert_allclose(reference("ResourceApplyAdagradV2", adagrad, {}), 0.92)


def test_partial_results_are_bounded_whatever_their_order() -> None:
    large = np.array([6e4, 6e4, -6e4], np.float16)
    assert largest_intermediate("Sum", [large, np.array([0])], {}) == pytest.approx(1.8e5, rel=1e-2)
    assert largest_intermediate("Mean", [large, np.array([0])], {}) > 1e5
    assert largest_intermediate("L2Loss", [np.array([1e20], np.float32)], {}) == pytest.approx(1e40)
    assert largest_intermediate("Log", [large], {}) == 0
    assert largest_intermediate("MatrixInverse", [SPD], {}) == np.inf
    assert largest_intermediate("Softmax", [np.array([[3e38, -3e38]])], {}) == pytest.approx(6e38)
    assert all(isinstance(op, str) for op in TABLE)
