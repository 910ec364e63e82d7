"""The first bad op of a step that fails as a graph: a debug dump (tfdbg2) of one retraced step."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from typing import Any, Dict, FrozenSet, Iterator, List, Optional, Set, Tuple

import numpy as np

from . import arrays, frames, probes, traced_graphs
from .fallback_origin import Named, origin_of_graph_op
from .graph_health import BODIES, CALLS, Node, Slot, births, completed, reached
from .localise import batch_rows
from .modes import without_jit
from .operands import Operands
from .search import Failure
from .state import Snapshot
from .stepper import Stepper

_NEG_INF, _POS_INF, _NAN = 5, 6, 7
"""Places in a FULL_HEALTH record: tensor, device, dtype, rank, elements, then these counts."""

_HANDED_OUT = re.compile(r"(^|(while|cond|body|branch)[^/]*/)Identity(_\d+)?$")
MAX_OUTPUTS = 256
"""Outputs of a loop or branch that are looked at."""

Key = Tuple[str, str, int]
"""Graph, op, output."""


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
            found = dump.first(stepper) if dump is not None else None
            if dump is not None and found is not None:
                _describe(stepper, failure, dump, found)
        return found.named if found is not None else None
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


def _run(stepper: Stepper, failure: Failure, folder: str) -> Optional[Dump]:
    """Dump the last healthy step, then the failing one; None when that does not fail now."""
    with _dumping(stepper, folder, "FULL_HEALTH") as writer:
        usual = 0
        if failure.healthy is not None:
            _step(stepper, *failure.healthy)
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


class _Birth:
    """An op that a dump shows to make a bad value of healthy ones."""

    def __init__(self, graph: str, node: Node, slot: int, execution: int, order: int) -> None:
        self.graph, self.node, self.slot = graph, node, slot
        self.execution, self.order = execution, order
        self.path: List[str] = []
        self.named = Named({})


class Dump:
    """Health of every tensor of a step, by graph, op, output and execution.

    Parameters
    ----------
    folder : str
        Where the dump is.
    usual : int
        Traces of an earlier, healthy step at its beginning: what is bad there is a habit.
    """

    def __init__(self, folder: str, usual: int = 0) -> None:
        self.folder = folder
        self.values: Dict[Key, List[int]] = {}
        self.order: Dict[Key, int] = {}
        self._habits: Dict[Key, int] = {}
        self._graphs: Dict[str, List[Node]] = {}
        self._inner: Dict[str, Set[str]] = {}
        with _reading(folder) as reader:
            for number, trace in enumerate(reader.graph_execution_traces()):
                self._take(trace, number < usual)
            ops: Dict[str, List[Any]] = {}
            for digest in reader.graph_op_digests():
                ops.setdefault(digest.graph_id, []).append(digest)
            for graph in {key[0] for key in self.values}:
                self._graphs[graph] = _nodes(ops.get(graph, []))
                self._note_outer(reader, graph)

    def _note_outer(self, reader: Any, graph: str) -> None:
        outer = reader.graph_by_id(graph).outer_graph_id
        while outer is not None and graph not in self._inner.setdefault(outer, set()):
            self._inner[outer].add(graph)
            graph, outer = outer, reader.graph_by_id(outer).outer_graph_id

    def _take(self, trace: Any, usual: bool) -> None:
        value = trace.debug_tensor_value
        if value is None:
            return
        key = (trace.graph_id, trace.op_name, trace.output_slot)
        bits = (
            (arrays.NAN if value[_NAN] else 0)
            | (arrays.POS if value[_POS_INF] else 0)
            | (arrays.NEG if value[_NEG_INF] else 0)
        )
        if usual:
            self._habits[key] = self._habits.get(key, 0) | bits
            return
        self.values.setdefault(key, []).append(bits & ~self._habits.get(key, 0))
        self.order.setdefault(key, int(value[0]))

    def first(self, stepper: Stepper) -> Optional[_Birth]:
        """Return the birth that does harm; the earliest in the program when several do."""
        found = sorted(self._births(), key=lambda b: (b.execution, b.order))
        harmful = [b for b in found if b.path]
        if not found:
            return None
        first = harmful[0] if harmful else found[0]
        if not harmful:
            first.named.notes.append("the dump does not show what the first bad value harms")
        with _reading(self.folder) as reader:
            for birth in found:
                birth.named.origin = self._origin(stepper, reader, birth)
        first.named.chain = first.path
        first.named.others = [b.named.origin for b in harmful[1:6]]
        first.named.benign = [
            {
                "op_type": b.node.op_type,
                "op_name": b.node.name,
                "reason": "neither the loss nor a variable takes the value (masked or cut off)",
            }
            for b in found
            if b is not first and not b.path
        ][:20]
        return first

    def _births(self) -> Iterator[_Birth]:
        """Births in every graph and execution (iteration of a loop body), once per op."""
        for graph, nodes in self._graphs.items():
            seen = set()
            ends = _ends(nodes)
            for execution in range(self._executions(graph)):
                bits = self._bits(graph, execution)
                for node, slot in births(nodes, bits):
                    if node.name in seen:
                        continue
                    seen.add(node.name)
                    order = self.order[graph, node.name, slot]
                    birth = _Birth(graph, node, slot, execution, order)
                    birth.path = reached(nodes, bits, node.name, ends)
                    yield birth

    def _executions(self, graph: str) -> int:
        return max((len(v) for key, v in self.values.items() if key[0] == graph), default=0)

    def _bits(self, graph: str, execution: int) -> Dict[Slot, int]:
        """Badness in one execution of a graph.

        Loops and branches are not dumped themselves: they count as bad when one of the graphs
        within hands a bad value out.
        """
        bits = {
            (key[1], key[2]): _at(values, execution)
            for key, values in self.values.items()
            if key[0] == graph
        }
        if any(self._hands_out(inner) for inner in self._inner.get(graph, ())):
            bits.update(
                ((node.name, slot), arrays.NAN)
                for node in self._graphs[graph]
                if node.op_type in BODIES and (node.name, 0) not in bits
                for slot in range(MAX_OUTPUTS)
            )
        return completed(self._graphs[graph], bits)

    def _hands_out(self, graph: str) -> bool:
        """Whether a graph, or one within it, hands out a bad value when it ran last."""
        nodes = self._graphs.get(graph)
        if nodes is None:
            return any(self._hands_out(inner) for inner in self._inner.get(graph, ()))
        bits = self._bits(graph, self._executions(graph) - 1)
        return any(bits.get((name, 0)) for name in _ends(nodes))

    def _origin(self, stepper: Stepper, reader: Any, birth: _Birth) -> Dict[str, Any]:
        digest = reader.graph_by_id(birth.graph).get_op_creation_digest(birth.node.name)
        stack = reader.read_graph_op_creation_stack_trace(digest)[1]
        phase, line = traced_graphs.phase_of(stack), traced_graphs.line_of(stack)
        name = self._full_name(reader, birth)
        if "while_body" in (reader.graph_by_id(birth.graph).name or ""):
            birth.named.notes.append("the op is in a loop: iteration %d" % birth.execution)
        origin = origin_of_graph_op(
            stepper.case, birth.node.op_type, name, phase, line, birth.slot
        )  # fmt: skip
        if phase == frames.OPTIMIZER:
            origin["source"] = None
        return origin

    def _full_name(self, reader: Any, birth: _Birth) -> str:
        """Name of an op with the calls that lead to it, as far as only one can be meant."""
        name, graph = birth.node.name, birth.graph
        outer = reader.graph_by_id(graph).outer_graph_id
        while outer is not None:
            calls = [
                node.name
                for node in self._graphs.get(outer, ())
                if node.op_type in BODIES and not node.name.startswith("gradient")
            ]
            if len(calls) == 1 and not name.startswith(calls[0] + "/"):
                name = calls[0] + "/" + name
            outer = reader.graph_by_id(outer).outer_graph_id
        return name


def _at(values: List[int], execution: int) -> int:
    """Bits of one execution; of a tensor made less often (outside of the loop) the last."""
    return values[min(execution, len(values) - 1)]


def _nodes(digests: List[Any]) -> List[Node]:
    """Ops of a dumped graph in order of creation.

    Calls, loops and branches leave no record: they are known as what others read from.
    """
    nodes = []
    for digest in digests:
        inputs = [_slot(text) for text in (digest.input_names or ()) if not text.startswith("^")]
        nodes.append(Node(digest.op_name, digest.op_type, inputs))
    named = {node.name for node in nodes}
    read = {producer for node in nodes for producer, _ in node.inputs}
    return [*(Node(name, CALLS[0], ()) for name in sorted(read - named)), *nodes]


def _ends(nodes: List[Node]) -> FrozenSet[str]:
    """Ops that hand a graph's values out: made last, in no scope but that of a loop or branch."""
    read = {producer for node in nodes for producer, _ in node.inputs}
    return frozenset(n.name for n in nodes if n.name not in read and _HANDED_OUT.search(n.name))


def _slot(text: str) -> Tuple[str, int]:
    name, _, slot = text.partition(":")
    return name, int(slot or 0)


def _describe(stepper: Stepper, failure: Failure, dump: Dump, birth: _Birth) -> None:
    """Dump the values of the first op and of those that it reads, and describe them."""
    types = {birth.node.op_type}
    by_name = {n.name: n.op_type for n in dump._graphs[birth.graph]}
    types |= {by_name[producer] for producer, _ in birth.node.inputs if producer in by_name}
    folder = tempfile.mkdtemp(prefix="dump-")
    try:
        pattern = "^(%s)$" % "|".join(re.escape(t) for t in sorted(types))
        with _dumping(stepper, folder, "FULL_TENSOR", pattern) as writer:
            _step(stepper, failure.before, failure.batch)
            writer.FlushNonExecutionFiles()
            writer.FlushExecutionFiles()
        with _reading(folder) as reader:
            values = _values(reader, birth)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _fill(birth, values, batch_rows(failure.batch))


def _values(reader: Any, birth: _Birth) -> Dict[Tuple[str, int], Any]:
    """Values of the op and of its inputs at the execution in question."""
    wanted = {(birth.node.name, birth.slot), *birth.node.inputs}
    found: Dict[Tuple[str, int], List[Any]] = {}
    for trace in reader.graph_execution_traces():
        key = (trace.op_name, trace.output_slot)
        if key in wanted:
            array = np.asarray(reader.graph_execution_trace_to_tensor_value(trace))
            found.setdefault(key, []).append(array)
    return {k: v[min(birth.execution, len(v) - 1)] for k, v in found.items()}


def _fill(birth: _Birth, values: Dict[Tuple[str, int], Any], rows: Optional[int]) -> None:
    origin = birth.named.origin
    output = values.get((birth.node.name, birth.slot))
    if output is not None:
        origin["dtype"], origin["shape"] = output.dtype.name, list(output.shape)
        origin["outputs"] = [arrays.statistics("output %d" % birth.slot, output)]
        birth.named.rows = arrays.bad_rows(output, rows) if rows else []
    node, inputs = birth.node, [values.get(slot) for slot in birth.node.inputs]
    # the dump tells no attributes: the op is run with their defaults, and believed if it fails
    birth.named.operands = Operands(
        node.op_type, {}, inputs, [None] * birth.slot + [output], [None] * len(inputs)
    )
    origin["inputs"] = [
        arrays.statistics("input %d" % i, values[slot])
        for i, slot in enumerate(birth.node.inputs)
        if slot in values
    ]
