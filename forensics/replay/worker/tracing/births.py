"""Describe the op that made a bad value, while its stack and its operands are still there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Optional

from .. import arrays
from . import frames
from .records import Made, OpRecord
from .tensors import value_of

if TYPE_CHECKING:
    from .trace import Trace

FUNCTION = "PartitionedCall"
ONE_OP = "a compiled function counts as one op"
DESCRIBED = 64
"""Births whose operands are described; a loop may give birth at every turn."""


def describe(trace: Trace, made: Made, skip: int) -> OpRecord:
    """Make the record of a birth; `skip` counts the frames of the trace above the op."""
    record = OpRecord(made.index, made.op_type, made.name)
    place = made.place
    record.layer, record.phase, record.source = made.path or None, place.phase, place.source
    record.slot, record.bits = made.slot, made.bits
    record.dtype, record.shape = made.array.dtype.name, tuple(made.array.shape)
    if trace.batch_size:
        record.rows = arrays.bad_rows(made.array, trace.batch_size)
    if len(trace.records) + len(trace.usual) < DESCRIBED:
        record.inputs = _statistics("input", made.inputs)
        record.outputs = _statistics("output", made.outputs)
    turns = [trace.loops.described(), frames.turn_of_loop(skip) or ""]
    record.iteration = ", ".join(t for t in turns if t) or None
    if place.phase == frames.BACKWARD:
        own = record.source if place.own_gradient else None
        trace.twins.name(record, skip)
        record.source = own or record.source
    elif place.phase == frames.OPTIMIZER:
        _of_update(record, frames.updated_variable(skip))
    elif place.phase == frames.LOSS:
        record.layer = None
    _of_variable(trace, record, made)
    if made.op_type.startswith("__"):
        _of_function(trace, record)
    return record


def _of_function(trace: Trace, record: OpRecord) -> None:
    """Name a function that was compiled, which runs as one op."""
    said = "%s: %s" % (ONE_OP, record.name)
    if said not in trace.degradations:
        trace.degradations.append(said)
    record.op_type = FUNCTION


def _of_update(record: OpRecord, variable: Optional[str]) -> None:
    """Give an optimizer's op the layer of the variable that it updates."""
    record.variable = variable
    record.layer = frames.layer_of_variable(variable) if variable else None
    if variable is not None:
        # the user's line is only where the optimizer was called
        record.source = None


def _of_variable(trace: Trace, record: OpRecord, made: Made) -> None:
    """Give a value that was read from a variable the variable's name."""
    for tensor in made.inputs:
        variable = trace.state.by_handle.get(getattr(tensor, "_id", -1))
        if variable is not None:
            record.variable = record.variable or variable.name
            if record.is_read:
                record.name, record.layer = variable.name, frames.layer_of_variable(variable.name)


def _statistics(what: str, tensors: Iterable[Any]) -> List[Dict[str, Any]]:
    values = [value_of(t) for t in tensors]
    return [
        arrays.statistics("%s %d" % (what, i), v) for i, v in enumerate(values) if v is not None
    ]


def describe_overflow(trace: Trace, index: int, op_type: str, path: str, place: frames.Place,
                      inputs: Any, variable: Any, bits: int) -> OpRecord:  # fmt: skip
    """Record an in-place update of finite operands that left its variable bad."""
    value = variable.read()
    record = OpRecord(index, op_type, "%s(%s)" % (op_type, variable.name))
    record.layer, record.phase, record.bits = path or None, place.phase, bits
    record.dtype, record.shape = value.dtype.name, tuple(value.shape)
    record.inputs = _statistics("input", inputs[1:])
    record.outputs = [arrays.statistics(variable.name, value)]
    record.variable = variable.name
    if place.phase == frames.OPTIMIZER:
        record.layer = frames.layer_of_variable(variable.name)
    else:
        record.phase, record.source = "state", place.source
    return record
