"""Which ops that ran eagerly made a bad value that a variable takes, by a debug dump."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from forensics.replay.worker.localising.dumped_health import slot_of
from forensics.replay.worker.localising.graph_health import ASSIGNS, CARRIERS
from forensics.sources.debug_dump import DebugDump, DumpedCall

_Site = tuple[str, tuple[str, ...]]
"""Type of an op and the stack it ran on: equal in every repetition of a step."""


class EagerHealth:
    """Eager ops of a dump up to the first variable that takes a bad value.

    What the same line of the program made before, and no variable took, is a habit (masks, branches
    that are not taken) and counts as healthy. A repetition ends where variables are assigned.

    Parameters
    ----------
    dump : DebugDump
        What was read.

    Attributes
    ----------
    births : list of int
        Places in ``dump.calls`` of the ops that made what the variable takes, of healthy values;
        empty where no variable takes a bad value.
    """

    def __init__(self, dump: DebugDump) -> None:
        self._calls, self._assigning = dump.calls, _assigning_graphs(dump)
        self._makers: dict[int, int] = {}
        self._seen: dict[_Site, int] = {}
        self._new: set[_Site] = set()
        self._next: dict[int, int] = {}
        self.births: list[int] = []
        harmed = self._first_harmed()
        if harmed is not None:
            self.births = self._sources(harmed)

    def _first_harmed(self) -> int | None:
        unset: set[int] = set()
        assigned = False
        for number, call in enumerate(self._calls):
            if call.op_type == "VarHandleOp":
                unset.update(call.outputs)
            elif self._assigns(call):
                # the first value of a variable may be anything: the best loss begins at infinity
                first = bool(unset.intersection(call.inputs[:1]))
                unset.difference_update(call.inputs[:1])
                if not first:
                    assigned = True
                    if any(i in self._makers for i in call.inputs):
                        return number
            elif assigned:
                assigned = False
                self._new.clear()
            self._note(number, call)
        return None

    def _note(self, number: int, call: DumpedCall) -> None:
        """Keep who made the bad outputs, unless they are a habit."""
        site = call.op_type, call.frames
        bad = [o for o, is_bad in zip(call.outputs, call.bad, strict=False) if is_bad]
        if not bad:
            return
        if site not in self._seen:
            self._seen[site] = number
            self._new.add(site)
        if site in self._new:
            self._makers.update((output, number) for output in bad)

    def _assigns(self, call: DumpedCall) -> bool:
        return call.op_type.startswith(ASSIGNS) or call.graph in self._assigning

    def _before(self, number: int) -> set[int]:
        inputs = self._calls[number].inputs
        return {self._makers[i] for i in inputs if self._makers.get(i, number) < number}

    def _sources(self, harmed: int) -> list[int]:
        """Walk back from the variable to the ops whose inputs are all healthy."""
        queue, found = deque([harmed]), []
        while queue:
            number = queue.popleft()
            makers = self._before(number)
            if not makers and self._calls[number].op_type not in CARRIERS:
                found.append(number)
            for maker in makers - self._next.keys():
                self._next[maker] = number
                queue.append(maker)
        return sorted(found)

    def chain(self) -> tuple[str, ...]:
        """Types of the ops from the first birth to the variable."""
        number, types = self.births[0], [self._calls[self.births[0]].op_type]
        while number in self._next:
            number = self._next[number]
            types.append(self._calls[number].op_type)
        return tuple(types)

    def harmless(self) -> Iterator[DumpedCall]:
        """Ops that made a bad value of healthy ones that no variable takes, once a line."""
        harmful = {*self.births, *self._next}
        for number in self._seen.values():
            if number not in harmful and not self._before(number):
                yield self._calls[number]


def _assigning_graphs(dump: DebugDump) -> set[str]:
    """Graphs of functions in which a variable takes a bad value."""
    bad = {(v.graph, v.op, v.slot) for v in dump.values if v.bad}
    return {
        op.graph
        for op in dump.ops
        if op.op_type.startswith(ASSIGNS)
        and any((op.graph, *slot_of(text)) in bad for text in op.inputs)
    }
