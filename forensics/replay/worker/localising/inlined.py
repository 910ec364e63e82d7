"""The first bad op within a compiled function that has no program: its graph, inlined and watched.

Functions restored from a SavedModel, and concrete functions that the user kept, cannot be executed
op by op. Their graphs can: all calls are inlined, the result is imported, and every float tensor of
it is fetched as three flags. Loops and branches stay functions; the one that turns bad is gone
through on its own, iteration by iteration.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from .. import arrays, probes
from .graph_health import BODIES, BRANCHES, CALLS, LOOPS, Node, Slot, births, reached

MAX_ITERATIONS = 100_000
MAX_DEPTH = 20


class Birth:
    """An op of an inlined graph that makes a bad value of healthy ones, with its operands.

    Attributes
    ----------
    node : Node
        The op; its name carries the scopes round it.
    slot : int
        The first output that is bad.
    inputs, outputs : list of array or None
        Values; None for what is no array.
    around : list of str
        Loops and branches that it is in, outermost first, with the iteration.
    path : list of str
        Ops from it to an assignment or a result of the function; empty: it reaches none.
    attrs : dict
        Attributes of the op by name.
    source : dict or None
        The user's line that made the op, where a program did.
    """

    def __init__(
        self, node: Node, slot: int, inputs: List[Any], outputs: List[Any], path: List[str]
    ) -> None:
        self.node, self.slot, self.inputs, self.outputs = node, slot, inputs, outputs
        self.around: List[str] = []
        self.path = path
        self.attrs: Dict[str, Any] = {}
        self.source: Optional[Dict[str, Any]] = None


class Body:
    """A graph with its inputs and outputs, in the shape that the inliner of TensorFlow takes."""

    def __init__(self, graph: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        self.graph, self.inputs, self.outputs = graph, list(inputs), list(outputs)


def body_of(name: str, graph: Any = None) -> Body:
    """Graph of a function that the runtime, or the library of a graph, knows by `name`."""
    from tensorflow.python.eager import context
    from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

    held = graph._get_function(name) if graph is not None else None
    if held is None:
        inner = function_def_to_graph(
            context.context().get_function_def(name), include_library_functions=True
        )
    else:
        with graph.as_default():
            inner = function_def_to_graph(held.cached_definition, include_library_functions=True)
    return Body(inner, inner.inputs, inner.outputs)


class InlinedGraph:
    """A function's graph with all calls inlined, ready to be run with every tensor looked at."""

    def __init__(self, body: Any) -> None:
        from tensorflow.python.eager import wrap_function
        from tensorflow.python.framework import importer

        definition = probes.part(probes.INLINING)(body, False, True)

        def imported() -> None:
            importer.import_graph_def(definition, name="")

        self._wrapped = wrap_function.wrap_function(imported, [])
        self.graph = self._wrapped.graph
        self._inputs = [self.graph.as_graph_element(t.name) for t in body.inputs]
        self._ends = frozenset(t.op.name for t in body.outputs)
        self._ops = self.graph.get_operations()
        self.nodes = [
            Node(op.name, op.type, [(t.op.name, t.value_index) for t in op.inputs])
            for op in self._ops
        ]

    def run(self, arguments: Sequence[Any]) -> Dict[Slot, int]:
        """Run it on all of its inputs, captured ones too; badness by output. Variables change."""
        import tensorflow as tf

        watched = [t for op in self._ops for t in op.outputs if _is_watched(t)]
        with self.graph.as_default():
            flags = [_flags(tf, t) for t in watched]
        effects = [op for op in self._ops if op.type.startswith(("Assign", "Resource"))]
        found = self._fetch(flags + [op for op in effects if not op.outputs], arguments)
        weights = (arrays.NAN, arrays.POS, arrays.NEG)
        return {
            (t.op.name, t.value_index): sum(w for w, flag in zip(weights, f.numpy()) if flag)
            for t, f in zip(watched, found)
        }

    def values(self, tensors: Sequence[Any], arguments: Sequence[Any]) -> List[Any]:
        """Eager tensors of some of its tensors."""
        return self._fetch(list(tensors), arguments)

    def _fetch(self, wanted: List[Any], arguments: Sequence[Any]) -> List[Any]:
        found = self._wrapped.prune(self._inputs, wanted)(*arguments)
        return list(found) if isinstance(found, (list, tuple)) else [found]

    def operation(self, node: Node) -> Any:
        """Op of the graph behind a node."""
        return self.graph.get_operation_by_name(node.name)

    def births(self, bits: Dict[Slot, int]) -> List[Tuple[Node, int]]:
        """Ops that make a bad value of healthy ones, loops and branches that do so included."""
        opaque = {n.name for n in self.nodes if n.op_type in BODIES}
        shown = [Node(n.name, "?", n.inputs) if n.name in opaque else n for n in self.nodes]
        real = {n.name: n for n in self.nodes}
        return [(real[node.name], slot) for node, slot in births(shown, bits)]

    def path(self, bits: Dict[Slot, int], name: str) -> List[str]:
        """Ops from a birth place to an assignment or a result; empty: it reaches none."""
        return reached(self.nodes, bits, name, self._ends)


class Explorer:
    """Finds births within a function, its loops and its branches.

    Parameters
    ----------
    restore : callable
        Puts all variables back: each run of a graph executes its assignments.
    habits : dict
        Badness by function and output at an earlier healthy step.
    """

    def __init__(self, restore: Any, habits: Optional[Dict[Any, int]] = None) -> None:
        self._restore = restore
        self._known = habits or {}
        self.habits: Dict[Any, int] = {}
        self._graphs: Dict[Any, InlinedGraph] = {}

    def look(self, body: Any, arguments: Sequence[Any], depth: int = 0) -> List[Birth]:
        """Births within a function that is given these arguments, in program order."""
        graph = self._graph(body)
        self._restore()
        bits = self._news(body, graph.run(arguments))
        found: List[Birth] = []
        for node, slot in graph.births(bits):
            operation = graph.operation(node)
            self._restore()
            inputs = graph.values(list(operation.inputs), arguments) if operation.inputs else []
            path = graph.path(bits, node.name)
            inner = self._within(operation, inputs, depth)
            for birth in inner:
                birth.path = [*birth.path, *path] if path else []
            if not inner:
                outputs = graph.values(list(operation.outputs), arguments)
                inner = [Birth(node, slot, _arrays(inputs), _arrays(outputs), path)]
                inner[0].attrs = {k: operation.get_attr(k) for k in operation.node_def.attr}
            found.extend(inner)
        return found

    def _graph(self, body: Any) -> InlinedGraph:
        key = getattr(body.graph, "name", None) or id(body)
        if key not in self._graphs:
            self._graphs[key] = InlinedGraph(body)
        return self._graphs[key]

    def _news(self, body: Any, bits: Dict[Slot, int]) -> Dict[Slot, int]:
        name = getattr(body.graph, "name", "")
        for slot, value in bits.items():
            if value:
                self.habits[name, slot] = self.habits.get((name, slot), 0) | value
        return {s: v & ~self._known.get((name, s), 0) for s, v in bits.items()}

    def _within(self, operation: Any, inputs: List[Any], depth: int) -> List[Birth]:
        """Births within the body of a loop, of a branch, or of a call that was not inlined."""
        if depth >= MAX_DEPTH:
            return []
        if operation.type in LOOPS:
            return self._loop(operation, inputs, depth)
        if operation.type in BRANCHES:
            name = _branch(operation, inputs[0])
            found = self.look(body_of(name, operation.graph), inputs[1:], depth + 1)
        elif operation.type in CALLS:
            found = self.look(
                body_of(operation.get_attr("f").name, operation.graph), inputs, depth + 1
            )
        else:
            return []
        for birth in found:
            birth.around.insert(0, operation.name)
        return found

    def _loop(self, operation: Any, variables: List[Any], depth: int) -> List[Birth]:
        condition = _callable(body_of(operation.get_attr("cond").name, operation.graph))
        body = body_of(operation.get_attr("body").name, operation.graph)
        step = _callable(body)
        for iteration in range(MAX_ITERATIONS):
            if not _truth(condition(*variables)):
                break
            following = _listed(step(*variables))
            if _any_bad(following) and not _any_bad(variables):
                found = self.look(body, variables, depth + 1)
                for birth in found:
                    birth.around.insert(0, "%s (iteration %d)" % (operation.name, iteration))
                if found:
                    return found
            variables = following
        return []


def _is_watched(tensor: Any) -> bool:
    return tensor.dtype.name in ("float16", "bfloat16", "float32", "float64", "complex64",
                                 "complex128")  # fmt: skip


def _flags(tf: Any, tensor: Any) -> Any:
    """NaN, +Inf, -Inf: whether the tensor holds any; of a complex one either part counts."""
    parts = [tf.math.real(tensor), tf.math.imag(tensor)] if tensor.dtype.is_complex else [tensor]
    rows = [
        tf.stack([
            tf.reduce_any(tf.math.is_nan(p)),
            tf.reduce_any(tf.math.logical_and(tf.math.is_inf(p), p > 0)),
            tf.reduce_any(tf.math.logical_and(tf.math.is_inf(p), p < 0)),
        ])
        for p in parts
    ]  # fmt: skip
    return tf.reduce_any(tf.stack(rows), axis=0)


def _callable(body: Body) -> Any:
    """Make the body or the condition of a loop something that can be called."""
    from tensorflow.python.eager import wrap_function
    from tensorflow.python.framework import importer

    definition = body.graph.as_graph_def()

    def imported() -> None:
        importer.import_graph_def(definition, name="")

    wrapped = wrap_function.wrap_function(imported, [])
    return wrapped.prune(
        [wrapped.graph.as_graph_element(t.name) for t in body.inputs],
        [wrapped.graph.as_graph_element(t.name) for t in body.outputs],
    )


def _branch(operation: Any, chosen: Any) -> str:
    if operation.type.endswith("Case"):
        branches = operation.get_attr("branches")
        index = int(chosen.numpy())
        name = branches[index if 0 <= index < len(branches) else -1].name
    else:
        name = operation.get_attr("then_branch" if _truth([chosen]) else "else_branch").name
    return str(name)


def _truth(values: Any) -> bool:
    return bool(np.all(_listed(values)[0].numpy()))


def _listed(values: Any) -> List[Any]:
    return list(values) if isinstance(values, (list, tuple)) else [values]


def _any_bad(tensors: Sequence[Any]) -> bool:
    return any(a is not None and arrays.badness(a) for a in _arrays(tensors))


def _arrays(tensors: Sequence[Any]) -> List[Any]:
    from ..tracing.tensors import value_of

    return [value_of(t) for t in tensors]
