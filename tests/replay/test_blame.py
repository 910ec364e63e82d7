"""Whose bug a non-finite value is, for ops whose truth is known."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from forensics.replay.worker import arrays
from forensics.replay.worker.blaming.blame import blame, without_op
from forensics.replay.worker.blaming.comparison import largest_of, tiny_of
from forensics.replay.worker.blaming.failing_op import FailingOp, NoOperands, failing_op
from forensics.replay.worker.blaming.op_definition import call_of
from forensics.replay.worker.stepping.randomness import PYTHON
from tests.replay.failing import failing

pytestmark = pytest.mark.tf
FIRST, ALL = np.array([0], np.int32), np.array([0, 1], np.int32)
JUST_BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


def judged(op: FailingOp) -> tuple[str, str, dict[str, Any]]:
    answer = blame(op, time.monotonic() + 60)
    return answer["verdict"], answer["reason"], {r["engine"]: r for r in answer["references"]}


def f32(*values: float) -> Any:
    return np.array(values, np.float32)


def f16(*values: float) -> Any:
    return np.array(values, np.float16)


@pytest.mark.parametrize(
    ("op_type", "values", "attrs", "said"),
    [
        ("Log", [f32(1, 0)], {}, "float64 reference is -inf too (1 of 1"),
        ("RealDiv", [f32(0), f32(0)], {}, "reference is nan too"),
        ("SqrtGrad", [f32(0), f32(2)], {}, "reference is inf too"),
        ("Square", [f32(3e25)], {}, "(9e+50) is beyond 3.40282e+38, the largest float32"),
        ("Cast", [f32(7e4)], {"DstT": 19}, "(70000) is beyond 65504, the largest float16"),
        ("Exp", [np.array([90], ml_dtypes.bfloat16)], {}, "the largest bfloat16"),
        ("Mean", [np.zeros((0, 3), np.float32), ALL], {}, "reference is nan too"),
        ("Softmax", [np.full((1, 3), -np.inf, np.float32)], {}, "reference is nan too"),
        ("Pow", [f32(0), f32(-0.5)], {}, "reference is inf too"),
        ("MatMul", [f16(300, 300)[None], f16(300, 300)[:, None]], {}, "the largest float16"),
    ],
)
def test_the_program_asks_for_what_no_kernel_can_answer(
    op_type: str, values: list[Any], attrs: dict[str, Any], said: str
) -> None:
    verdict, reason, engines = judged(failing(op_type, values, **attrs))
    assert verdict == "user", reason
    assert said in reason
    assert "TensorFlow" in reason and op_type in reason
    assert engines["eager"]["finite"] is False
    assert "6 of 6 runs gave the same" in engines["eager"]["detail"]
    assert engines["graph (tf.function)"]["finite"] is False


def test_a_kernel_that_is_wrong_is_called_so() -> None:
    # Erfinv adds 1 to its operand in float32: tensorflow/tensorflow#121502
    call = failing("Log", [f32(0)]).call
    call.op_type = "Erfinv"
    if np.isfinite(call.run([f32(JUST_BELOW_ONE)])[0]).all():
        pytest.skip("this TensorFlow has mended Erfinv")
    verdict, reason, engines = judged(failing("Erfinv", [f32(JUST_BELOW_ONE, 0.5)]))
    assert verdict == "framework_defect", reason
    assert "the exact result is finite (3.83251 at [0]" in reason
    assert "Erfinv should not answer Inf here" in reason
    assert "x float32[2] in [0.5, 0.99999994]" in reason
    assert engines["NumPy float64"]["finite"] is True
    assert engines["TensorFlow's float64 kernel"]["finite"] is True
    assert engines["eager"]["finite"] is False


def test_sums_that_overflow_on_the_way_are_a_known_limit() -> None:
    for op in (
        failing("Mean", [f32(3e38, 3e38, 3e38), FIRST]),
        failing("EuclideanNorm", [f32(1e20, 1e20), FIRST]),
        failing("ReciprocalGrad", [f32(1e25), f32(1e-30)]),
    ):
        verdict, reason, engines = judged(op)
        assert verdict == "undecided", reason
        assert "partial results" in reason and "known limit" in reason
        assert engines["NumPy float64"]["finite"] is True


def test_runs_that_disagree_point_at_the_machine() -> None:
    op = failing("RealDiv", [f32(1), f32(0)])
    # during the step the op answered Inf to operands on which it is finite now
    op.values = [f32(1), f32(4)]
    verdict, reason, engines = judged(op)
    assert verdict == "hardware_suspected", reason
    assert "5 of 6 runs" in reason and "0.25" in reason
    assert engines["eager"]["finite"] is True


@pytest.mark.parametrize(
    ("op_type", "slot"), [("LogMatrixDeterminant", 1), ("Cholesky", 0), ("MatrixInverse", 0)]
)
def test_a_matrix_that_only_one_precision_calls_singular_is_no_defect(
    op_type: str, slot: int
) -> None:
    # of rank 1 but for the rounding of its float32 elements, which float64 sees
    matrix = np.array([[0.1, 0.2], [0.3, 0.6]], np.float32)
    assert np.isfinite(np.linalg.slogdet(matrix.astype(np.float64))[1])
    values = [matrix if op_type != "Cholesky" else matrix @ matrix.T + np.float32(1e-3)]
    singular = np.full((2, 2), -np.inf, np.float32)
    answered = [np.float32(1), singular[0, 0]] if slot else [singular]
    op = FailingOp(call_of(op_type, {}, values, set()), values, slot, arrays.NEG)
    op.call.run = lambda values, mode="eager", device="": answered  # type: ignore[method-assign]
    verdict, reason, engines = judged(op)
    assert verdict == "undecided", reason
    assert "differences of nearly equal numbers" in reason
    assert engines["NumPy float64"]["finite"] is True


def test_a_matrix_that_is_singular_in_any_precision_is_the_program_s() -> None:
    ones = np.ones((2, 2), np.float32)
    verdict, reason, _ = judged(failing("LogMatrixDeterminant", [ones], slot=1))
    assert verdict == "user", reason


def test_an_op_that_draws_anew_is_not_held_against_the_machine() -> None:
    shape, alpha = np.array([4], np.int32), f32(np.nan)
    op = failing("RandomGamma", [shape, alpha], seed=3, seed2=4)
    op.outputs = [f32(1, 2, np.nan, 3)[:, None]]
    verdict, reason, engines = judged(op)
    assert (verdict, engines) == ("undecided", {})
    assert "no run of it repeats another" in reason


@pytest.mark.parametrize("op_type", sorted(PYTHON))
def test_a_python_function_of_the_program_is_not_called_again(op_type: str) -> None:
    origin = {"phase": "forward", "op_type": op_type, "raised": None, "output_slot": 0}
    found = SimpleNamespace(localiser=object(), origin=origin, record=None, operands=None)
    with pytest.raises(NoOperands, match="a Python function of the program") as raised:
        failing_op(SimpleNamespace(found=found), "eager")  # type: ignore[arg-type]
    assert without_op(raised.value)["verdict"] == "undecided"
    found.record = SimpleNamespace(op_type=op_type, is_read=False)
    with pytest.raises(NoOperands, match="a Python function of the program"):
        failing_op(SimpleNamespace(found=found), "eager")  # type: ignore[arg-type]


def test_runs_that_disagree_about_a_sum_prove_nothing() -> None:
    op = failing("Sum", [f32(3e38, 3e38), FIRST])
    op.values = [f32(3e38, 3e38, -3e38), FIRST]
    verdict, reason, _ = judged(op)
    assert verdict == "undecided"
    assert "partial results of Sum can reach 9e+38" in reason


def test_operands_that_are_taken_for_zero_are_the_program_s() -> None:
    op = failing("Log", [f32(0)])
    op.values = [f32(1e-40)]
    op.call.run = lambda values, mode="eager", device="": [f32(-np.inf)]  # type: ignore[method-assign]
    verdict, reason, _ = judged(op)
    assert verdict == "user"
    assert "smaller than the smallest normal number" in reason


def test_a_result_at_the_edge_is_left_undecided() -> None:
    op = failing("Square", [f32(3e25)])
    op.values = [f32(np.sqrt(3.4e38))]
    op.call.run = lambda values, mode="eager", device="": [f32(np.inf)]  # type: ignore[method-assign]
    verdict, reason, _ = judged(op)
    assert verdict == "undecided"
    assert "very edge of float32" in reason


def test_what_has_no_reference_stays_undecided() -> None:
    verdict, reason, engines = judged(failing("Igamma", [f32(np.nan), f32(1)]))
    assert verdict == "undecided"
    assert "no NumPy reference for Igamma" in reason
    assert "NumPy float64" not in engines
    assert engines["TensorFlow's float64 kernel"]["finite"] is False


def test_masked_operands_are_told_from_defects() -> None:
    # 0 times the -inf of an impossible class: NaN where the limit of the formula is 0
    op = failing("SoftmaxCrossEntropyWithLogits", [f32(0, -np.inf)[None], f32(1, 0)[None]])
    verdict, reason, _ = judged(op)
    assert verdict == "undecided"
    assert "operands are non-finite themselves" in reason


@pytest.mark.gpu
def test_the_graphics_card_and_the_processor_are_both_asked() -> None:
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("no GPU")
    _, _, engines = judged(failing("RealDiv", [f32(0), f32(0)]))
    assert engines["eager on GPU:0"]["finite"] is False
    assert engines["eager on CPU:0"]["finite"] is False


def test_a_program_that_runs_its_functions_eagerly_changes_no_engine() -> None:
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        grad = failing("SqrtGrad", [f32(0), f32(0)], mode="jit")
        _, reason, engines = judged(grad)
    finally:
        tf.config.run_functions_eagerly(False)
    # only XLA says NaN, if it was asked at all
    assert engines["XLA (jit_compile=True)"]["finite"] is False
    assert engines["eager"]["finite"] is True
    assert "different conventions" in reason


def test_refused_operands_are_the_program_s() -> None:
    labels = np.array([7], np.int64)
    op = failing("SparseSoftmaxCrossEntropyWithLogits", [np.zeros((1, 4), np.float32), labels])
    answer = blame(op, time.monotonic() + 60)
    assert answer["verdict"] == "user"
    assert "label value of 7" in answer["reason"]


def test_where_no_op_is_known_what_the_program_gave_decides() -> None:
    given = without_op(NoOperands("they are in the batch (sample_weight)", users=True))
    assert given["verdict"] == "user"
    assert "sample_weight" in given["reason"] and "no op to ask" in given["reason"]
    assert without_op(NoOperands("it ran in a graph only"))["verdict"] == "undecided"


def test_limits_of_dtypes() -> None:
    assert largest_of(np.float16) == 65504
    assert largest_of(ml_dtypes.bfloat16) == float.fromhex("0x1.fep127")
    assert largest_of(ml_dtypes.float8_e5m2) == 57344
    assert largest_of(np.complex64) == largest_of(np.float32)
    assert tiny_of(ml_dtypes.bfloat16) == tiny_of(np.float32) == float.fromhex("0x1p-126")
