"""The first bad op of a step that fails as a graph: a debug dump (tfdbg2) of one retraced step."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

from .. import arrays, probes
from ..stepping.failure import Failure
from ..stepping.modes import without_jit
from ..stepping.state import Snapshot
from ..stepping.stepper import Stepper
from ..tracing import frames
from ..tracing.records import Operands
from . import traced_graphs
from .dumped_health import Birth, DumpedHealth, Key, slot_of
from .fallback_origin import Named, operands_of, origin_of_graph_op
from .graph_health import Node
from .localise import batch_rows

_NEG_INF, _POS_INF, _NAN = 5, 6, 7
"""Places in a FULL_HEALTH record: tensor, device, dtype, rank, elements, then these counts."""

HARMLESS = "neither the loss nor a variable takes the value (masked or cut off)"


def debug_dump(stepper: Stepper, failure: Failure) -> Optional[Named]:
    """Run the failing step with a dump of every tensor's health; None when it names nothing.

    XLA is off: a compiled function has no ops to look at. Fused kernels, which Grappler makes of
    several ops, do not appear either, and the watched ops are not fused.
    """
    if probes.part(probes.DEBUG_DUMP) is None:
        return None
    folder = tempfile.mkdtemp(prefix="dump-")
    try:
        with without_jit(stepper):
            dump = _run(stepper, failure, folder)
            found = dump.named(stepper)
            if found is not None:
                _describe(stepper, failure, dump, *found)
        return found[0] if found is not None else None
    finally:
        stepper.state.load(failure.before)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _dumping(stepper: Stepper, folder: str, mode: str, ops: Optional[str] = None) -> Iterator[Any]:
    import tensorflow as tf

    debugging = tf.debugging.experimental
    writer = debugging.enable_dump_debug_info(
        folder, tensor_debug_mode=mode, circular_buffer_size=-1, op_regex=ops
    )
    stepper.retrace()
    try:
        yield writer
    finally:
        debugging.disable_dump_debug_info()
        stepper.retrace()


def _run(stepper: Stepper, failure: Failure, folder: str) -> Dump:
    """Dump the last healthy step, then the failing one."""
    with _dumping(stepper, folder, "FULL_HEALTH") as writer:
        usual = 0
        if failure.healthy is not None:
            _step(stepper, *failure.healthy)
            # the reader looks up the op of each execution: the graphs have to be there
            writer.FlushNonExecutionFiles()
            writer.FlushExecutionFiles()
            with _reading(folder) as reader:
                usual = reader.num_graph_execution_traces()
        _step(stepper, failure.before, failure.batch)
        writer.FlushNonExecutionFiles()
        writer.FlushExecutionFiles()
    return Dump(folder, usual)


def _step(stepper: Stepper, before: Snapshot, batch: Any) -> None:
    stepper.state.load(before)
    stepper.own(batch)


@contextlib.contextmanager
def _reading(folder: str) -> Iterator[Any]:
    with probes.part(probes.DEBUG_DUMP)(folder) as reader:
        reader.update()
        yield reader


class Dump:
    """Health of every tensor of a step, and where its ops were made.

    Parameters
    ----------
    folder : str
        Where the dump is.
    usual : int
        Traces of an earlier, healthy step at its beginning: what is bad there is a habit.
    """

    def __init__(self, folder: str, usual: int = 0) -> None:
        self.folder, self.health = folder, DumpedHealth()
        self.names: Dict[str, str] = {}
        habits: Dict[Key, int] = {}
        with _reading(folder) as reader:
            for number, trace in enumerate(reader.graph_execution_traces()):
                key = (trace.graph_id, trace.op_name, trace.output_slot)
                value = trace.debug_tensor_value
                if value is None:
                    continue
                bits = health_bits(value)
                if number < usual:
                    habits[key] = habits.get(key, 0) | bits
                else:
                    self.health.add(key, bits & ~habits.get(key, 0), int(value[0]))
            self._note_graphs(reader)

    def _note_graphs(self, reader: Any) -> None:
        ops: Dict[str, List[Node]] = {}
        for digest in reader.graph_op_digests():
            inputs = [slot_of(t) for t in digest.input_names or () if not t.startswith("^")]
            node = Node(digest.op_name, digest.op_type, inputs)
            ops.setdefault(digest.graph_id, []).append(node)
        for graph, nodes in ops.items():
            self.names[graph] = reader.graph_by_id(graph).name or ""
            self.health.add_graph(graph, nodes, reader.graph_by_id(graph).outer_graph_id)

    def named(self, stepper: Stepper) -> Optional[Tuple[Named, Birth]]:
        """Name the birth that does harm; the earliest in the program when several do."""
        found = self.health.births()
        if not found:
            return None
        harmful = [b for b in found if b.path]
        first = harmful[0] if harmful else found[0]
        with _reading(self.folder) as reader:
            named = Named(self._origin(stepper, reader, first))
            named.others = [self._origin(stepper, reader, b) for b in harmful[1:6]]
            if "while_body" in (reader.graph_by_id(first.graph).name or ""):
                named.notes.append("the op is in a loop: iteration %d" % first.execution)
        if not harmful:
            named.notes.append("the dump does not show what the first bad value harms")
        named.chain = first.path
        named.benign = [
            {"op_type": b.node.op_type, "op_name": b.node.name, "reason": HARMLESS}
            for b in found
            if b is not first and not b.path
        ][:20]
        return named, first

    def _origin(self, stepper: Stepper, reader: Any, birth: Birth) -> Dict[str, Any]:
        digest = reader.graph_by_id(birth.graph).get_op_creation_digest(birth.node.name)
        stack = reader.read_graph_op_creation_stack_trace(digest)[1]
        phase, line = traced_graphs.phase_of(stack), traced_graphs.line_of(stack)
        name = self.health.full_name(birth)
        if phase == frames.OPTIMIZER:
            line = None
        return origin_of_graph_op(
            stepper.case, birth.node.op_type, name, phase, line, birth.slot
        )  # fmt: skip


def health_bits(value: Any) -> int:
    """Tell the badness that a FULL_HEALTH record states."""
    return (
        (arrays.NAN if value[_NAN] else 0)
        | (arrays.POS if value[_POS_INF] else 0)
        | (arrays.NEG if value[_NEG_INF] else 0)
    )


def _describe(stepper: Stepper, failure: Failure, dump: Dump, named: Named, birth: Birth) -> None:
    """Dump the values of the first op and of those that it reads, and describe them."""
    types = {birth.node.op_type}
    by_name = {n.name: n.op_type for n in dump.health.graphs[birth.graph]}
    types |= {by_name[producer] for producer, _ in birth.node.inputs if producer in by_name}
    folder = tempfile.mkdtemp(prefix="dump-")
    try:
        pattern = "^(%s)$" % "|".join(re.escape(t) for t in sorted(types))
        with _dumping(stepper, folder, "FULL_TENSOR", pattern) as writer:
            _step(stepper, failure.before, failure.batch)
            writer.FlushNonExecutionFiles()
            writer.FlushExecutionFiles()
            operation = traced_graphs.operation_in(
                dump.names.get(birth.graph, ""), birth.node.name, birth.node.op_type
            )
        with _reading(folder) as reader:
            values = _values(reader, birth)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _fill(named, birth, values, batch_rows(failure.batch))
    inputs = [values.get(slot) for slot in birth.node.inputs]
    if operation is not None and all(v is not None for v in inputs):
        outputs = [values.get((birth.node.name, i)) for i in range(len(operation.outputs))]
        named.operands = operands_of(operation, inputs, outputs)


def _values(reader: Any, birth: Birth) -> Dict[Tuple[str, int], Any]:
    """Values of the op and of its inputs at the execution in question."""
    wanted = {(birth.node.name, birth.slot), *birth.node.inputs}
    found: Dict[Tuple[str, int], List[Any]] = {}
    for trace in reader.graph_execution_traces():
        key = (trace.op_name, trace.output_slot)
        if key in wanted:
            array = np.asarray(reader.graph_execution_trace_to_tensor_value(trace))
            found.setdefault(key, []).append(array)
    return {k: v[min(birth.execution, len(v) - 1)] for k, v in found.items()}


def _fill(
    named: Named, birth: Birth, values: Dict[Tuple[str, int], Any], rows: Optional[int]
) -> None:
    origin = named.origin
    output = values.get((birth.node.name, birth.slot))
    if output is not None:
        origin["dtype"], origin["shape"] = output.dtype.name, list(output.shape)
        origin["outputs"] = [arrays.statistics("output %d" % birth.slot, output)]
        named.rows = arrays.bad_rows(output, rows) if rows else []
    node, inputs = birth.node, [values.get(slot) for slot in birth.node.inputs]
    # the dump tells no attributes: the op is run with their defaults, and believed if it fails
    named.operands = Operands(
        node.op_type, {}, inputs, [None] * birth.slot + [output], [None] * len(inputs)
    )
    origin["inputs"] = [
        arrays.statistics("input %d" % i, values[slot])
        for i, slot in enumerate(birth.node.inputs)
        if slot in values
    ]
