"""Births of bad values in a debug dump (tfdbg2): health of tensors by graph, op and execution.

Nothing of TensorFlow is needed: dumps that others left are judged by the same code.
"""

from __future__ import annotations

import re
from typing import Dict, FrozenSet, Iterator, List, Optional, Set, Tuple

from .graph_health import BODIES, CALLS, Node, Slot, Spread, births, completed

BAD = 1
"""Badness of what is only known to come out of a loop or a call."""
MAX_OUTPUTS = 64
"""Outputs of a loop or a call that are looked at."""
MAX_EXECUTIONS = 200
"""Executions of a graph with bad values that are looked at, from the first on."""
MAX_BIRTHS = 200
"""Births of one graph that are followed, from the first on: each costs a walk over the graph."""
_HANDED_OUT = re.compile(r"(^|(while|cond|body|branch)[^/]*/)Identity(_\d+)?$")

NONE: FrozenSet[str] = frozenset()

Key = Tuple[str, str, int]
"""Graph, op, output."""


class Birth:
    """An op that a dump shows to make a bad value of healthy ones.

    Attributes
    ----------
    graph : str
        The graph that it is in.
    node : Node
        The op.
    slot : int
        The first output that is bad.
    execution : int
        How often the graph had run before (for the body of a loop: iterations).
    order : int
        Place in the program.
    path : list of str
        Ops from it to an assignment or a result of its graph; empty: it reaches none.
    """

    def __init__(self, graph: str, node: Node, slot: int, execution: int, order: int) -> None:
        self.graph, self.node, self.slot = graph, node, slot
        self.execution, self.order = execution, order
        self.path: List[str] = []


class DumpedHealth:
    """Health of tensors, graph by graph.

    Attributes
    ----------
    values : dict
        Badness by key, one entry per execution.
    order : dict
        Place in the program by key.
    graphs : dict
        Ops by graph, in program order.
    outer : dict
        The graph round a graph.
    capped : bool
        Whether a graph held more births than were followed.
    """

    def __init__(self) -> None:
        self.values: Dict[Key, List[int]] = {}
        self.order: Dict[Key, int] = {}
        self.graphs: Dict[str, List[Node]] = {}
        self.outer: Dict[str, Optional[str]] = {}
        self.capped = False
        self._keys: Dict[str, List[Key]] = {}

    def add(self, key: Key, bits: int, order: int) -> None:
        """Note the health of one output in the next execution of its graph."""
        if key not in self.values:
            self.values[key], self.order[key] = [], order
            self._keys.setdefault(key[0], []).append(key)
        self.values[key].append(bits)

    def add_graph(self, graph: str, nodes: List[Node], outer: Optional[str]) -> None:
        """Note the ops of a graph.

        Calls, loops and branches leave no record: they are known as what others read from.
        """
        named = {node.name for node in nodes}
        read = {producer for node in nodes for producer, _ in node.inputs}
        unseen = [Node(name, CALLS[0], ()) for name in sorted(read - named)]
        self.graphs[graph] = [*unseen, *nodes]
        self.outer[graph] = outer

    def births(self) -> List[Birth]:
        """Births in every graph, once per op: by execution, then in program order."""
        found = [birth for graph in self._keys for birth in self._births(graph)]
        return sorted(found, key=lambda b: (b.execution, b.order))

    def _births(self, graph: str) -> Iterator[Birth]:
        nodes = self.graphs.get(graph, [])
        seen: Set[str] = set()
        fed = any(self._is_fed(inner, {graph}) for inner in self._within(graph))
        for execution in self._telling(graph)[:MAX_EXECUTIONS]:
            bits = self.bits(graph, execution)
            # what no op that left a record reads goes into a loop or a call
            ends = _ends(nodes) | (_unread(nodes, bits) if fed else NONE)
            spread = Spread(nodes, bits)
            for node, slot in births(nodes, bits):
                if node.name not in seen:
                    if len(seen) >= MAX_BIRTHS:
                        self.capped = True
                        return
                    seen.add(node.name)
                    order = self.order.get((graph, node.name, slot), 0)
                    birth = Birth(graph, node, slot, execution, order)
                    birth.path = spread.path(node.name, ends)
                    yield birth

    def _telling(self, graph: str) -> List[int]:
        """List the executions of a graph in which anything is bad."""
        keys = self._keys.get(graph, ())
        return sorted({i for key in keys for i, bits in enumerate(self.values[key]) if bits})

    def bits(self, graph: str, execution: int) -> Dict[Slot, int]:
        """Badness in one execution of a graph; what is healthy is left out.

        Loops and calls count as bad when one of the graphs within is given a bad value, or hands
        one out.
        """
        keys = self._keys.get(graph, ())
        found = {(k[1], k[2]): _at(self.values[k], execution) for k in keys}
        bad = {slot: bits for slot, bits in found.items() if bits}
        nodes = self.graphs.get(graph, [])
        within = self._within(graph)
        if any(self._hands_out(i, {graph}) or self._is_fed(i, {graph}) for i in within):
            unseen = [n.name for n in nodes if n.op_type in BODIES and (n.name, 0) not in found]
            bad.update(((name, slot), BAD) for name in unseen for slot in range(MAX_OUTPUTS))
        return completed(nodes, bad)

    def _within(self, graph: str) -> List[str]:
        return [inner for inner, outer in self.outer.items() if outer == graph]

    def _hands_out(self, graph: str, seen: Set[str]) -> bool:
        """Whether a graph, or one within it, hands out a bad value when it ran last."""
        if graph in seen:
            return False
        if graph not in self._keys:
            return any(self._hands_out(inner, {*seen, graph}) for inner in self._within(graph))
        return self.hands_out(graph, self.executions(graph) - 1)

    def _is_fed(self, graph: str, seen: Set[str]) -> bool:
        """Whether a graph, or one within it, is given a bad value."""
        if graph in seen:
            return False
        given = {n.name for n in self.graphs.get(graph, ()) if n.op_type == "Placeholder"}
        if any(k[1] in given and any(self.values[k]) for k in self._keys.get(graph, ())):
            return True
        return any(self._is_fed(inner, {*seen, graph}) for inner in self._within(graph))

    def hands_out(self, graph: str, execution: int) -> bool:
        """Whether a graph hands out a bad value in one of its executions."""
        bits = self.bits(graph, execution)
        return any(bits.get((name, 0)) for name in _ends(self.graphs.get(graph, [])))

    def executions(self, graph: str) -> int:
        """How often a graph ran."""
        return max((len(self.values[key]) for key in self._keys.get(graph, ())), default=0)

    def full_name(self, birth: Birth) -> str:
        """Name of an op with the calls that lead to it, as far as only one can be meant."""
        name, outer, seen = birth.node.name, self.outer.get(birth.graph), {birth.graph}
        while outer is not None and outer not in seen:
            seen.add(outer)
            calls = [
                node.name
                for node in self.graphs.get(outer, ())
                if node.op_type in BODIES and not node.name.startswith("gradient")
            ]
            if len(calls) == 1 and not name.startswith(calls[0] + "/"):
                name = calls[0] + "/" + name
            outer = self.outer.get(outer)
        return name


def slot_of(text: str) -> Slot:
    """Op and output of a tensor's name."""
    name, _, slot = text.partition(":")
    return name, int(slot) if slot.isdecimal() else 0


def _at(values: List[int], execution: int) -> int:
    """Bits of one execution; of a tensor made less often (outside of the loop) the last."""
    return values[min(execution, len(values) - 1)]


def _unread(nodes: List[Node], bits: Dict[Slot, int]) -> FrozenSet[str]:
    """Ops whose bad value no other op of the graph reads."""
    read = {producer for node in nodes for producer, _ in node.inputs}
    return frozenset(name for name, _ in bits if name not in read)


def _ends(nodes: List[Node]) -> FrozenSet[str]:
    """Ops that hand a graph's values out: made last, in no scope but that of a loop or branch."""
    read = {producer for node in nodes for producer, _ in node.inputs}
    return frozenset(n.name for n in nodes if n.name not in read and _HANDED_OUT.search(n.name))
