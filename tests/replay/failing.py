"""Ops that fail, as the replay finds them, made without a replay."""

from __future__ import annotations

from typing import Any

from forensics.replay.worker.blaming.failing_op import FailingOp
from forensics.replay.worker.blaming.op_definition import call_of
from forensics.replay.worker.blaming.opcall import EAGER, bits_of


def failing(
    op_type: str, values: list[Any], slot: int = 0, mode: str = EAGER, **attrs: Any
) -> FailingOp:
    """Run an op and take what it answers, or raises, for the failure."""
    call = call_of(op_type, attrs, values, set())
    try:
        outputs = call.run(values, mode)
    except Exception as error:
        return FailingOp(call, values, slot, 0, error, mode)
    bits = bits_of(outputs, slot)
    assert bits, f"{op_type} answers {outputs}"
    op = FailingOp(call, values, slot, bits, None, mode)
    op.outputs = outputs
    return op
