"""What an op did wrong, in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from forensics.report.operations import explain


def tensor(low: float, high: float, zero: int = 0) -> dict[str, Any]:
    return {"min": low, "max": high, "zero": zero, "count": 10}


def origin(op: str | None, *inputs: dict[str, Any], **other: Any) -> dict[str, Any]:
    usual = {
        "op_type": op,
        "phase": "forward",
        "input": None,
        "raised": None,
        "forward_op_type": None,
        "dtype": "float32",
        "inputs": list(inputs),
    }
    return usual | other


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (origin("Log", tensor(-0.5, 1)), "smallest value that went in is −0.5"),
        (origin("Log", tensor(0, 1, zero=4)), "(4 of 10 are 0)"),
        (origin("Log"), "The logarithm of 0 is −Inf"),
        (origin("RealDiv", tensor(1, 2), tensor(0, 3, zero=2)), "2 of 10 divisors are 0"),
        (origin("RealDiv", tensor(1, 2), tensor(1e-39, 3)), "divisors lie in [1e−39, 3]"),
        (origin("Exp", tensor(0, 120.5)), "largest value that went in is 120.5"),
        (origin("MatMul", tensor(-1e20, 1), tensor(0, 3e25)), "operands reach 3e25"),
        (origin("MatMul", dtype="float16"), "float16, whose largest number is 65,504"),
        (
            origin("SqrtGrad", phase="backward", forward_op_type="Sqrt"),
            "The gradient of Sqrt: the slope of √x at 0 is infinite",
        ),
        (origin("SparseSoftmaxCrossEntropyWithLogits"), "a label is no class"),
        (origin("ResourceApplyAdam", phase="optimizer"), "the gradient was finite"),
        (origin("SeluGrad", phase="backward"), "The gradient of Selu"),
        (origin("Gather", raised="indices[0] = 12 is not in [0, 10)"), "raised an error"),
        (origin("ReadVariableOp", phase="state"), "bad before the step began"),
        (
            origin(None, phase="input", input={"name": "x", "rows": [3, 4]}),
            "x itself holds NaN or Inf, in 2 of its rows",
        ),
        (origin(None, phase="input"), "bad before any op ran"),
    ],
)
def test_an_op_is_explained_by_its_operands(of: dict[str, Any], words: str) -> None:
    assert words in explain(of)


def test_an_unknown_op_is_not_explained() -> None:
    assert explain(origin("MyOwnKernel")) == ""
