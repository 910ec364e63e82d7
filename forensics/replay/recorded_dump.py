"""The first bad op from a debug dump (tfdbg2) that the run left: nothing is run again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from forensics.domain.replay import (
    DEBUG_DUMP,
    BenignOp,
    Origin,
    Phase,
    ReplayResult,
    ReplayStatus,
    SourceLine,
)
from forensics.domain.run import InputFile, ReadWarning
from forensics.replay.eager_dump import EagerHealth
from forensics.replay.worker.localising import scopes, traced_graphs
from forensics.replay.worker.localising.dumped_health import (
    BAD,
    MAX_BIRTHS,
    Birth,
    DumpedHealth,
    Key,
    slot_of,
)
from forensics.replay.worker.localising.graph_health import ASSIGNS, Node
from forensics.sources.debug_dump import (
    DebugDump,
    DumpedCall,
    DumpedOp,
    DumpedValue,
    Frame,
    dumps_among,
    read_debug_dump,
)
from forensics.sources.storage.place import Place

HARMLESS = "neither the loss nor a variable takes the value (masked or cut off)"
_LIBRARY = re.compile(r"/(site|dist)-packages/|/lib/python\d|^<|__autograph_generated_file")


class RecordedDump:
    """A dump of a run, judged.

    Parameters
    ----------
    place : Place
        The log directory.
    files : iterable of str
        The dump files below it.

    Attributes
    ----------
    inputs : tuple of InputFile
        What was read.
    warnings : tuple of ReadWarning
        Damaged places and limits.
    """

    def __init__(self, place: Place, files: Iterable[str]) -> None:
        dumps = [read_debug_dump(place, name, own) for name, own in dumps_among(files).items()]
        self.inputs: tuple[InputFile, ...] = tuple(i for d in dumps for i in d.inputs)
        self.warnings: tuple[ReadWarning, ...] = tuple(w for d in dumps for w in d.warnings)
        self._dumps = dumps

    def result(self) -> ReplayResult:
        """Name the first bad value of the dumps that does harm."""
        found = [r for d in self._dumps for r in (_of_graphs(d), _of_calls(d)) if r is not None]
        if found:
            # what does harm before what does none
            return min(found, key=lambda r: r.origin is None)
        modes = "" if any(_telling(d) for d in self._dumps) else (
            ": its mode tells no health, write it with tensor_debug_mode='FULL_HEALTH'"
        )  # fmt: skip
        return ReplayResult(
            status=ReplayStatus.NOT_RUN,
            reason="the debug dump in the log directory shows no bad value" + modes,
            source=DEBUG_DUMP,
        )


def _telling(dump: DebugDump) -> bool:
    return any(v.bad is not None for v in dump.values) or any(any(c.bad) for c in dump.calls)


def _of_graphs(dump: DebugDump) -> ReplayResult | None:
    """Go through the steps of a dump to the first whose bad values do harm.

    What is bad before, and does none, is a habit: mask constants, branches that are not taken.
    """
    habits: set[Key] = set()
    harmless: list[BenignOp] = []
    for step, values in enumerate(_steps(dump)):
        news = {_key(v) for v in values if v.bad} - habits
        if not news:
            continue
        health = _health(dump, values, habits)
        births = health.births()
        harmful = [b for b in births if b.path]
        benign = [BenignOp(b.node.op_type, b.node.name, HARMLESS) for b in births if not b.path]
        if harmful:
            return _named(dump, health, harmful, step, [*harmless, *benign])
        harmless += benign
        habits |= news
    return _harmless(harmless) if harmless else None


def _harmless(benign: list[BenignOp]) -> ReplayResult:
    return ReplayResult(
        status=ReplayStatus.NOT_REPRODUCED,
        reason="the debug dump in the log directory shows bad values that do no harm only",
        benign=tuple(benign[:20]),
        source=DEBUG_DUMP,
        instrument=DEBUG_DUMP,
    )


def _steps(dump: DebugDump) -> Iterator[list[DumpedValue]]:
    """Values of each call of a function from Python: a new one begins where an op comes again."""
    called = {call.graph for call in dump.calls if call.graph}
    outermost = called & {v.graph for v in dump.values} or _not_within(dump)
    seen: set[Key] = set()
    step: list[DumpedValue] = []
    for value in dump.values:
        if value.graph in outermost:
            if _key(value) in seen:
                yield step
                seen, step = set(), []
            seen.add(_key(value))
        step.append(value)
    if step:
        yield step


def _not_within(dump: DebugDump) -> set[str]:
    """Graphs with values that are in no other one with values."""
    graphs = {v.graph for v in dump.values}
    return {g for g in graphs if dump.graphs.get(g, ("", ""))[1] not in graphs}


def _key(value: DumpedValue) -> Key:
    return value.graph, value.op, value.slot


def _named(
    dump: DebugDump, health: DumpedHealth, harmful: list[Birth], step: int,
    benign: list[BenignOp],
) -> ReplayResult:  # fmt: skip
    ops, first = {(op.graph, op.name): op for op in dump.ops}, harmful[0]
    origins = [_origin(dump, health, ops, birth) for birth in harmful[:6]]
    where = f"execution {step} of the dump, counted from 0"
    if health.capped:
        where += f"; of the ops that make bad values only the first {MAX_BIRTHS} were followed"
    return replace(
        _result(dump, origins, where, tuple(first.path), benign),
        symptom="state" if _is_assignment(ops, first) else "loss",
    )


def _is_assignment(ops: dict[tuple[str, str], DumpedOp], birth: Birth) -> bool:
    """Whether the bad value ends in a variable, and not in a result of the function."""
    last = ops.get((birth.graph, birth.path[-1])) if birth.path else None
    return last is not None and last.op_type.startswith(ASSIGNS)


def _health(dump: DebugDump, values: Iterable[DumpedValue], habits: set[Key]) -> DumpedHealth:
    health = DumpedHealth()
    places: dict[tuple[str, str], int] = {}
    nodes: dict[str, list[Node]] = {}
    for place, op in enumerate(dump.ops):
        places[op.graph, op.name] = place
        inputs = [slot_of(text) for text in op.inputs if not text.startswith("^")]
        nodes.setdefault(op.graph, []).append(Node(op.name, op.op_type, inputs))
    for graph, found in nodes.items():
        health.add_graph(graph, found, dump.graphs.get(graph, ("", ""))[1] or None)
    for value in values:
        if value.bad is not None:
            key = _key(value)
            bits = BAD if value.bad and key not in habits else 0
            health.add(key, bits, places.get(key[:2], len(places)))
    return health


def _origin(
    dump: DebugDump, health: DumpedHealth, ops: dict[tuple[str, str], DumpedOp], birth: Birth
) -> Origin:
    op = ops.get((birth.graph, birth.node.name))
    stack = dump.stack(op.frames) if op is not None else []
    name = health.full_name(birth)
    around = scopes.scopes_of(name)
    phase = _phase(stack) or Phase(scopes.phase_of_scopes(around))
    layer = "/".join(s for s in around if s != "gradient_tape")
    return Origin(
        op_type=birth.node.op_type,
        op_name=name,
        output_slot=birth.slot,
        dtype=None,
        shape=None,
        layer=layer if layer and phase in (Phase.FORWARD, Phase.BACKWARD) else None,
        phase=phase,
        source=None if phase is Phase.OPTIMIZER else _line(stack),
    )


def _phase(stack: list[Frame]) -> Phase | None:
    found = traced_graphs.phase_of((f.file, f.line, f.function) for f in stack)
    return None if found is None else Phase(found)


def _line(stack: list[Frame]) -> SourceLine | None:
    """Innermost line of the user's program; its text is not in what is read of a dump."""
    own = [f for f in stack if not _LIBRARY.search(f.file.replace("\\", "/"))]
    if not own:
        return None
    file = PurePosixPath(own[-1].file.replace("\\", "/")).name
    return SourceLine(file, own[-1].line, own[-1].function, "")


def _of_calls(dump: DebugDump) -> ReplayResult | None:
    """Name the first ops that ran eagerly and made a bad value that a variable takes."""
    health = EagerHealth(dump)
    benign = [BenignOp(c.op_type, c.op_type, HARMLESS) for c in health.harmless()]
    if not health.births:
        return _harmless(benign) if benign else None
    origins = [_eager_origin(dump, dump.calls[n]) for n in health.births[:6]]
    where = f"eager op {health.births[0]} of the dump, counted from 0"
    return replace(_result(dump, origins, where, health.chain(), benign), symptom="state")


def _eager_origin(dump: DebugDump, call: DumpedCall) -> Origin:
    stack = dump.stack(call.frames)
    slot = next((i for i, is_bad in enumerate(call.bad) if is_bad), 0)
    phase = _phase(stack) or Phase.FORWARD
    return Origin(call.op_type, call.op_type, slot, None, None, None, phase, source=_line(stack))


def _result(
    dump: DebugDump, origins: list[Origin], where: str, chain: tuple[str, ...],
    benign: list[BenignOp],
) -> ReplayResult:  # fmt: skip
    """Answer with what was read.

    A dump may begin in mid-run, and a circular one keeps the end only: its executions are no steps
    of the run. Nothing was run, so nothing was reproduced.
    """
    reason = f"read from the debug dump {dump.path} in the log directory, nothing was run: {where}"
    if not dump.complete:
        reason += "; the dump was not read to its end"
    return ReplayResult(
        status=ReplayStatus.NOT_RUN,
        reason=reason,
        origin=origins[0],
        other_origins=tuple(origins[1:]),
        benign=tuple(benign[:20]),
        chain=chain,
        source=DEBUG_DUMP,
        instrument=DEBUG_DUMP,
        environment={"tensorflow": dump.version} if dump.version else {},
    )
