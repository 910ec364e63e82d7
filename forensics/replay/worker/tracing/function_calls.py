"""Calls of functions whose program is gone, within a step that runs op by op."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from .. import arrays, probes
from ..localising.fallback_origin import Named, origin_of_graph_op
from ..localising.graph_health import CALLS
from ..localising.inlined import Birth, Explorer, body_of
from ..localising.localise import batch_rows
from ..localising.traced_graphs import source_in
from ..stepping.stepper import Stepper, to_tensors
from .records import Operands

if TYPE_CHECKING:
    from ..stepping.failure import Failure
    from ..stepping.state import Snapshot

FUNCTION_PREFIXES = ("__inference_", "__forward_", "__backward_")
MAX_CALLS = 64

Call = Tuple[str, List[Any]]
"""A function's name in the runtime, and all tensors that it was given."""


def is_function_call(op_type: Optional[str]) -> bool:
    """Whether an op of an eager step is a call of a compiled function."""
    return op_type is not None and (op_type in CALLS or op_type.startswith(FUNCTION_PREFIXES))


def inlined_graph(stepper: Stepper, failure: Failure) -> Optional[Named]:
    """Look into the functions that the failing step calls; None when they make no bad value."""
    if probes.part(probes.INLINING) is None:
        return None
    habits: Dict[Any, int] = {}
    if failure.healthy is not None:
        habits = _explore(stepper, *failure.healthy, {})[1]
    births, _ = _explore(stepper, failure.before, failure.batch, habits)
    stepper.state.load(failure.before)
    return _named(stepper, births, batch_rows(failure.batch)) if births else None


def _explore(
    stepper: Stepper, before: Snapshot, batch: Any, habits: Dict[Any, int]
) -> Tuple[List[Birth], Dict[Any, int]]:
    """Births in all functions that a step calls with healthy values, in order of the calls."""
    explorer = Explorer(lambda: stepper.state.load(before), habits)
    births: List[Birth] = []
    for name, arguments in _calls(stepper, before, batch):
        found = explorer.look(body_of(name), arguments)
        for birth in found:
            birth.source = source_in(name, birth.node.name, birth.node.op_type)
        births.extend(found)
    return births, explorer.habits


def _calls(stepper: Stepper, before: Snapshot, batch: Any) -> List[Call]:
    from tensorflow.python.framework import op_callbacks

    calls: List[Call] = []

    def note(op_type: Any, inputs: Any, attrs: Any, outputs: Any, op_name: Any = None,
             graph: Any = None) -> None:  # fmt: skip
        name = op_type.decode() if isinstance(op_type, bytes) else str(op_type)
        if graph is None and is_function_call(name) and len(calls) < MAX_CALLS:
            calls.append((name, list(inputs)))

    stepper.state.load(before)
    op_callbacks.add_op_callback(note)
    try:
        stepper.eager(to_tensors(batch))
    finally:
        op_callbacks.remove_op_callback(note)
        stepper.state.load(before)
    return calls


def _named(stepper: Stepper, births: List[Birth], rows: Optional[int]) -> Named:
    harmful = [b for b in births if b.path]
    first = harmful[0] if harmful else births[0]
    named = Named(_origin(stepper, first))
    named.others = [_origin(stepper, b) for b in harmful[1:6]]
    named.benign = [
        {
            "op_type": b.node.op_type,
            "op_name": b.node.name,
            "reason": "neither a result of the function nor a variable takes the value",
        }
        for b in births
        if b is not first and not b.path
    ][:20]
    named.chain = first.path
    named.operands = Operands(
        first.node.op_type, first.attrs, first.inputs, first.outputs, [None] * len(first.inputs)
    )
    bad = first.outputs[first.slot]
    named.rows = arrays.bad_rows(bad, rows) if rows and bad is not None else []
    if first.around:
        named.notes.append("the op is within " + ", ".join(first.around))
    return named


def _origin(stepper: Stepper, birth: Birth) -> Dict[str, Any]:
    origin = origin_of_graph_op(
        stepper.case, birth.node.op_type, birth.node.name, slot=birth.slot, source=birth.source
    )  # fmt: skip
    bad = birth.outputs[birth.slot]
    if bad is not None:
        origin["dtype"], origin["shape"] = bad.dtype.name, list(bad.shape)
    for key, values in (("input", birth.inputs), ("output", birth.outputs)):
        origin[key + "s"] = [
            arrays.statistics("%s %d" % (key, i), v) for i, v in enumerate(values) if v is not None
        ]
    return origin
