"""Debug dumps of TensorFlow (tfdbg2), as ``enable_dump_debug_info`` writes them, read without it.

A dump is a set of TFRecord files with a common beginning; each record is a ``DebugEvent``. Field
numbers are those of ``tensorflow/core/protobuf/debug_event.proto`` and
``tensorflow/core/framework/graph_debug_info.proto``.
"""

from __future__ import annotations

import math
import re
import struct
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from forensics.domain.run import InputFile, ReadWarning
from forensics.errors import Damaged
from forensics.sources.events.record_file import RecordFile
from forensics.sources.storage.place import Place
from forensics.sources.wire import FIXED32, FIXED64, LENGTH, VARINT, fields, signed, varint

KIND = "debug_dump"
_PARTS = ("metadata", "source_files", "stack_frames", "graphs", "graph_execution_traces",
          "execution")  # fmt: skip
_FILE = re.compile(r"(.*tfdbg_events\..*)\.(" + "|".join(_PARTS) + ")")
MAX_RECORDS = 2_000_000
"""Records of one file that are kept: a dump grows without end while a run goes on."""

MAX_SECONDS = 60.0
"""CPU time that is spent on one dump: records are kept in plain Python, some 80,000 a second."""

_LOOK_AT_CLOCK = 1_000
"""Records between two looks at the clock."""

MAX_WARNINGS = 20
"""Damaged records of one file that are told one by one; the others are counted."""

_METADATA, _SOURCE, _FRAME, _OP, _GRAPH, _EXECUTION, _TRACE = 3, 4, 6, 7, 8, 9, 10
CURT, CONCISE, FULL, THREE_SLOTS = 2, 3, 4, 8
_BAD_COUNTS = {CURT: (1,), CONCISE: (2, 3, 4), FULL: (5, 6, 7), THREE_SLOTS: (0, 1, 2)}
"""Where a health record of a mode counts (or flags) elements that are not finite."""
_LONGEST_HEALTH = 11
_FLOAT, _DOUBLE = 1, 2


@dataclass(frozen=True, slots=True)
class Frame:
    """A line of a program on the stack of an op's making."""

    file: str
    line: int
    function: str


@dataclass(frozen=True, slots=True)
class DumpedOp:
    """An op as it was added to a graph; `frames` are keys of the dump's frames."""

    graph: str
    name: str
    op_type: str
    inputs: tuple[str, ...]
    frames: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DumpedValue:
    """Health of an op's output in one execution of its graph; None: its mode tells none."""

    graph: str
    op: str
    slot: int
    bad: bool | None


@dataclass(frozen=True, slots=True)
class DumpedCall:
    """An op or a function that ran eagerly: tensors by number, health of its outputs."""

    op_type: str
    graph: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    bad: tuple[bool | None, ...]
    frames: tuple[str, ...]


@dataclass(slots=True)
class DebugDump:
    """All of one dump.

    Attributes
    ----------
    path : str
        Common beginning of its files, relative to the log directory.
    version : str
        Of the TensorFlow that wrote it.
    ops, values, calls : list
        In the order they were written.
    graphs : dict
        Name and outer graph by graph.
    complete : bool
        Whether all records were kept.
    """

    path: str
    version: str = ""
    ops: list[DumpedOp] = field(default_factory=list)
    values: list[DumpedValue] = field(default_factory=list)
    calls: list[DumpedCall] = field(default_factory=list)
    graphs: dict[str, tuple[str, str]] = field(default_factory=dict)
    complete: bool = True
    inputs: list[InputFile] = field(default_factory=list)
    warnings: list[ReadWarning] = field(default_factory=list)
    _files: list[str] = field(default_factory=list)
    _deadline: float = field(default_factory=lambda: time.process_time() + MAX_SECONDS)
    _frames: dict[str, tuple[int, int, str]] = field(default_factory=dict)

    @property
    def late(self) -> bool:
        """Whether the time for it is over."""
        return time.process_time() > self._deadline

    def stack(self, frames: Iterable[str]) -> list[Frame]:
        """Lines of a stack, outermost first; those that were lost are left out."""
        found = [self._frames[f] for f in frames if f in self._frames]
        return [
            Frame(self._files[index], line, function)
            for index, line, function in found
            if 0 <= index < len(self._files)
        ]


def dumps_among(paths: Iterable[str]) -> dict[str, list[str]]:
    """Files of each dump among file names, by their common beginning."""
    found: dict[str, list[str]] = {}
    for path in paths:
        match = _FILE.fullmatch(path)
        if match is not None:
            found.setdefault(match[1], []).append(path)
    return {name: sorted(files, key=_place) for name, files in sorted(found.items())}


def dump_files(paths: Iterable[str]) -> tuple[str, ...]:
    """Files of debug dumps among file names, sorted."""
    return tuple(sorted(path for path in paths if _FILE.fullmatch(path)))


def _place(path: str) -> int:
    return _PARTS.index(path.rsplit(".", 1)[1])


def read_debug_dump(place: Place, name: str, files: Iterable[str]) -> DebugDump:
    """Read a dump.

    Parameters
    ----------
    place : Place
        The log directory.
    name : str
        Common beginning of its files.
    files : iterable of str
        Its files, relative to `place`.

    Returns
    -------
    DebugDump
        Never raises for what the files hold: damage and limits are warnings.
    """
    dump = DebugDump(name)
    for file in files:
        _read_file(dump, place, file)
    return dump


def _read_file(dump: DebugDump, place: Place, name: str) -> None:
    file, seen, left, damaged = RecordFile(place, name, KIND), 0, 0, 0
    for block in file.blocks():
        for start, end in zip(block.starts, block.ends, strict=True):
            seen += 1
            if left or seen > MAX_RECORDS or (seen % _LOOK_AT_CLOCK == 0 and dump.late):
                left += 1
                continue
            try:
                _event(dump, block.data, start, end)
            except Damaged as error:
                damaged += 1
                if damaged <= MAX_WARNINGS:
                    offset = block.base + error.offset
                    dump.warnings.append(ReadWarning(name, offset, error.kind, error.detail))
    if damaged > MAX_WARNINGS:
        why = f"{damaged - MAX_WARNINGS} more damaged records are not listed"
        dump.warnings.append(ReadWarning(name, None, "bad_wire", why))
    if left:
        dump.complete = False
        why = f"{left} records were not looked at, after {seen - left} of this file" + (
            f" and {MAX_SECONDS:g} s of CPU time" if dump.late else ""
        )
        dump.warnings.append(ReadWarning(name, None, "limit", why))
    dump.inputs.append(file.input)
    dump.warnings.extend(file.warnings)


def _event(dump: DebugDump, data: bytes, start: int, end: int) -> None:
    for number, wire, first, last in fields(data, start, end):
        take = _TAKERS.get(number)
        if take is not None and wire == LENGTH:
            take(dump, data, first, last)


def _metadata(dump: DebugDump, data: bytes, start: int, end: int) -> None:
    for number, wire, first, last in fields(data, start, end):
        if number == 1 and wire == LENGTH:
            dump.version = _text(data, first, last)


def _source(dump: DebugDump, data: bytes, start: int, end: int) -> None:
    """Keep the name of a source file: frames count them in the order they were written."""
    name = ""
    for number, wire, first, last in fields(data, start, end):
        if number == 1 and wire == LENGTH:
            name = _text(data, first, last)
    dump._files.append(name)


def _frame(dump: DebugDump, data: bytes, start: int, end: int) -> None:
    key, found = "", (0, 0, "")
    for number, wire, first, last in fields(data, start, end):
        if number == 1 and wire == LENGTH:
            key = _text(data, first, last)
        elif number == 2 and wire == LENGTH:
            found = _line(data, first, last)
    dump._frames[key] = found


def _line(data: bytes, start: int, end: int) -> tuple[int, int, str]:
    index, line, function = 0, 0, ""
    for number, wire, first, last in fields(data, start, end):
        if number == 1 and wire == VARINT:
            index = signed(first)
        elif number == 2 and wire == VARINT:
            line = signed(first)
        elif number == 4 and wire == LENGTH:
            function = _text(data, first, last)
    return index, line, function


def _op(dump: DebugDump, data: bytes, start: int, end: int) -> None:
    texts: dict[int, str] = {}
    inputs: list[str] = []
    frames: tuple[str, ...] = ()
    for number, wire, first, last in fields(data, start, end):
        if wire != LENGTH:
            continue
        if number in (1, 2, 4):
            texts[number] = _text(data, first, last)
        elif number == 6:
            inputs.append(_text(data, first, last))
        elif number == 8:
            frames = _frames_of(data, first, last)
    graph, name, kind = (texts.get(n, "") for n in (4, 2, 1))
    dump.ops.append(DumpedOp(graph, name, kind, tuple(inputs), frames))


def _graph(dump: DebugDump, data: bytes, start: int, end: int) -> None:
    texts: dict[int, str] = {}
    for number, wire, first, last in fields(data, start, end):
        if number in (1, 2, 6) and wire == LENGTH:
            texts[number] = _text(data, first, last)
    dump.graphs[texts.get(1, "")] = (texts.get(2, ""), texts.get(6, ""))


def _trace(dump: DebugDump, data: bytes, start: int, end: int) -> None:
    graph = op = ""
    slot, mode = 0, 0
    health: tuple[int, int] | None = None
    for number, wire, first, last in fields(data, start, end):
        if number == 1 and wire == LENGTH:
            graph = _text(data, first, last)
        elif number == 2 and wire == LENGTH:
            op = _text(data, first, last)
        elif number == 3 and wire == VARINT:
            slot = signed(first)
        elif number == 4 and wire == VARINT:
            mode = signed(first)
        elif number == 5 and wire == LENGTH:
            health = first, last
    bad = None if health is None else _is_bad(mode, data, *health)
    dump.values.append(DumpedValue(graph, op, slot, bad))


def _execution(dump: DebugDump, data: bytes, start: int, end: int) -> None:
    op_type = graph = ""
    numbers: dict[int, list[int]] = {4: [], 5: []}
    mode = 0
    frames: tuple[str, ...] = ()
    healths: list[tuple[int, int]] = []
    for number, wire, first, last in fields(data, start, end):
        if number == 1 and wire == LENGTH:
            op_type = _text(data, first, last)
        elif number == 3 and wire == LENGTH:
            graph = _text(data, first, last)
        elif number in numbers:
            numbers[number].extend(_packed(data, wire, first, last))
        elif number == 6 and wire == VARINT:
            mode = signed(first)
        elif number == 7 and wire == LENGTH:
            healths.append((first, last))
        elif number == 8 and wire == LENGTH:
            frames = _frames_of(data, first, last)
    bad = tuple(_is_bad(mode, data, *span) for span in healths)
    dump.calls.append(DumpedCall(op_type, graph, tuple(numbers[4]), tuple(numbers[5]), bad, frames))


_TAKERS: dict[int, Callable[[DebugDump, bytes, int, int], None]] = {
    _METADATA: _metadata, _SOURCE: _source, _FRAME: _frame, _OP: _op, _GRAPH: _graph,
    _EXECUTION: _execution, _TRACE: _trace,
}  # fmt: skip


def _frames_of(data: bytes, start: int, end: int) -> tuple[str, ...]:
    return tuple(
        _text(data, first, last)
        for number, wire, first, last in fields(data, start, end)
        if number == 2 and wire == LENGTH
    )


def _packed(data: bytes, wire: int, first: int, last: int) -> list[int]:
    """Integers of a repeated field, packed or one by one."""
    if wire == VARINT:
        return [signed(first)]
    if wire != LENGTH:
        return []
    found, position = [], first
    while position < last:
        value, position = varint(data, position, last)
        found.append(signed(value))
    return found


def _is_bad(mode: int, data: bytes, start: int, end: int) -> bool | None:
    """Whether a health record tells of values that are not finite; None when it tells nothing."""
    places = _BAD_COUNTS.get(mode)
    if places is None:
        return None
    values = _numbers(data, start, end)
    if len(values) <= places[-1]:
        return None
    return any(math.isnan(values[i]) or values[i] != 0 for i in places)


def _numbers(data: bytes, start: int, end: int) -> tuple[float, ...]:
    """Elements of a short TensorProto of float32 or float64."""
    kind, found = 0, b""
    for number, wire, first, last in fields(data, start, end):
        if number == 1 and wire == VARINT:
            kind = signed(first)
        elif number == 4 and wire == LENGTH:
            found = data[first:last]
        elif number in (5, 6) and wire in (LENGTH, FIXED32, FIXED64):
            found += data[first:last]
    if kind not in (_FLOAT, _DOUBLE):
        return ()
    code, size = ("f", 4) if kind == _FLOAT else ("d", 8)
    count = min(len(found) // size, _LONGEST_HEALTH)
    return struct.unpack_from(f"<{count}{code}", found)


def _text(data: bytes, start: int, end: int) -> str:
    # Millions of records name the same few ops.
    return sys.intern(data[start:end].decode("utf-8", "backslashreplace"))
