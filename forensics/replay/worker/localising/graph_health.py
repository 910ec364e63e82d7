"""Where bad values are born in a graph whose every tensor was looked at, and what they reach."""

from __future__ import annotations

from collections import deque
from typing import Deque, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple

Slot = Tuple[str, int]
"""An op's name and the number of its output."""

CARRIERS = frozenset((
    "Placeholder", "PlaceholderWithDefault", "_Arg", "_Retval", "Identity", "IdentityN", "While",
    "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase", "PartitionedCall",
    "StatefulPartitionedCall", "Enter", "RefEnter", "Exit", "Merge", "Switch", "NextIteration",
    "StopGradient", "PreventGradient", "DebugIdentityV2",
    # what is kept in a list, a stack or a variable comes out as it went in
    "TensorListGetItem", "TensorListStack", "TensorListPopBack", "TensorListGather",
    "TensorListConcat", "TensorListConcatV2", "TensorArrayReadV3", "TensorArrayGatherV3",
    "TensorArrayConcatV3", "StackPopV2", "ReadVariableOp", "VariableV2", "ResourceGather",
))  # fmt: skip
"""Ops that hand values on and make none."""

LOOPS = ("While", "StatelessWhile")
BRANCHES = ("If", "StatelessIf", "Case", "StatelessCase")
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
BODIES = (*LOOPS, *BRANCHES, *CALLS)
"""Ops that run another graph."""

HANDS_ON = ("Identity", "StopGradient", "PreventGradient", "Snapshot")
"""Ops with one input that is their output."""

ASSIGNS = ("Assign", "ResourceApply", "ResourceScatter", "ResourceSparseApply")


class Node:
    """An op of a graph: its name, type and the tensors that it reads, in program order."""

    __slots__ = ("inputs", "name", "op_type")

    def __init__(self, name: str, op_type: str, inputs: Sequence[Slot]) -> None:
        self.name, self.op_type, self.inputs = name, op_type, tuple(inputs)


def completed(nodes: Sequence[Node], bits: Mapping[Slot, int]) -> Dict[Slot, int]:
    """Badness with that of ops that hand their input on and were not looked at."""
    known = dict(bits)
    pending = [n for n in nodes if n.op_type in HANDS_ON and n.inputs and (n.name, 0) not in bits]
    while True:
        new = {
            (n.name, 0): known[n.inputs[0]]
            for n in pending
            if known.get(n.inputs[0]) and (n.name, 0) not in known
        }
        if not new:
            return known
        known.update(new)


def births(nodes: Iterable[Node], bits: Mapping[Slot, int]) -> List[Tuple[Node, int]]:
    """Ops with a bad output whose inputs are all healthy, and which output, in program order.

    Parameters
    ----------
    nodes : iterable of Node
        In program order.
    bits : mapping
        Badness by output; what is missing is healthy or was not looked at.
    """
    # of several bad outputs the first stays
    bad_slots = dict(sorted((key for key, value in bits.items() if value), reverse=True))
    return [
        (node, bad_slots[node.name])
        for node in nodes
        if node.name in bad_slots
        and node.op_type not in CARRIERS
        and not any(bits.get(slot) for slot in node.inputs)
    ]


def reached(
    nodes: Sequence[Node], bits: Mapping[Slot, int], birth: str, ends: FrozenSet[str]
) -> List[str]:
    """Ops from a birth place to the first of `ends` that its bad values get to; nothing: to none.

    Assignments are ends too. An op passes a bad value on when one of its own outputs is bad.
    """
    return Spread(nodes, bits).path(birth, ends)


class Spread:
    """Who reads the bad values of one execution: built once for all births in it."""

    def __init__(self, nodes: Sequence[Node], bits: Mapping[Slot, int]) -> None:
        self._consumers: Dict[str, List[Node]] = {}
        for node in nodes:
            for producer in {name for name, slot in node.inputs if bits.get((name, slot))}:
                self._consumers.setdefault(producer, []).append(node)
        self._bad = {name for (name, _), value in bits.items() if value}

    def path(self, birth: str, ends: FrozenSet[str]) -> List[str]:
        """Shortest way from a birth place to an end, as `reached` answers it."""
        before: Dict[str, Optional[str]] = {birth: None}
        queue: Deque[str] = deque([birth])
        while queue:
            name = queue.popleft()
            if name in ends:
                return _way(before, name)
            for node in self._consumers.get(name, ()):
                if node.op_type.startswith(ASSIGNS):
                    return [*_way(before, name), node.name]
                if node.name not in before and node.name in self._bad:
                    before[node.name] = name
                    queue.append(node.name)
        return []


def _way(before: Mapping[str, Optional[str]], last: str) -> List[str]:
    """Names from the first to `last`, by what each was reached from."""
    way: List[str] = []
    name: Optional[str] = last
    while name is not None:
        way.append(name)
        name = before[name]
    return way[::-1]
