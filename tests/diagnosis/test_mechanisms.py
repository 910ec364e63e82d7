"""Growth or domain: what an op that failed says about the reason."""

from __future__ import annotations

from typing import Any

import pytest

from forensics.detectors.scenes import origin, tensor
from forensics.diagnosis.mechanisms import DOMAIN_OPS, GROWTH_OPS, is_growth, is_understood
from forensics.domain.replay import Phase
from forensics.domain.run import TensorKind, TensorStats


def operand(low: float, high: float, zero: int = 0) -> TensorStats:
    return tensor("a", TensorKind.OTHER, low=low, high=high, zero=zero)


one, huge, zero = operand(0.1, 1), operand(-1e30, 1e30), operand(0, 1, 1)

CASES: list[tuple[str, dict[str, Any], bool]] = [
    ("square of the huge", {"op_type": "Square", "inputs": (huge,)}, True),
    ("division by 0", {"op_type": "RealDiv", "inputs": (one, zero)}, False),
    ("the huge by 0", {"op_type": "RealDiv", "inputs": (huge, zero)}, False),
    ("the huge by a small number", {"op_type": "RealDiv", "inputs": (huge, one)}, True),
    ("exp of 100", {"op_type": "Exp", "inputs": (operand(0, 100),)}, False),
    ("log of 0", {"op_type": "Log", "inputs": (zero,)}, False),
    ("mean of nothing", {"op_type": "Mean", "inputs": (tensor("e", shape=(0,)),)}, False),
    ("mean of the huge", {"op_type": "Mean", "inputs": (huge,)}, True),
    ("an unlisted op on ordinary numbers", {"op_type": "Frobnicate", "inputs": (one,)}, False),
    ("an unlisted op on the huge", {"op_type": "Frobnicate", "inputs": (huge,)}, True),
    (
        "the gradient of a root",
        {
            "op_type": "Mul",
            "forward_op_type": "Sqrt",
            "phase": Phase.BACKWARD,
            "inputs": (one, zero),
        },
        False,
    ),
    (
        "the gradient of a product",
        {
            "op_type": "MatMul",
            "forward_op_type": "MatMul",
            "phase": Phase.BACKWARD,
            "inputs": (huge, huge),
        },
        True,
    ),
]


@pytest.mark.parametrize(("fields", "grew"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_growth_or_domain(fields: dict[str, Any], grew: bool) -> None:
    assert is_growth(origin(**fields)) is grew


def test_an_op_is_on_one_list_only() -> None:
    assert not DOMAIN_OPS & GROWTH_OPS


def test_unknown_operands_of_plain_arithmetic_tell_nothing() -> None:
    assert not is_understood(origin("Mul"))
    assert is_understood(origin("Log"))
    assert is_understood(origin("Mul", inputs=(huge,)))
    assert is_understood(origin(None, phase=Phase.INPUT))
