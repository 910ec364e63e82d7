"""Events and summaries: from sound records to columns of scalars, one per tag.

Field numbers are those of ``tensorflow/core/util/event.proto`` and
``tensorflow/core/framework/summary.proto``. Fields that hold their default are absent on the wire:
step 0 is. Only the first event of a tag says by which plugin it was written, and that may be the
one that was lost; so a tensor is a scalar when it holds one number. Histograms, images, graphs and
the like are counted, not decoded.
"""

from __future__ import annotations

import struct
from array import array
from collections import Counter
from dataclasses import dataclass, field

from forensics.errors import Damaged
from forensics.sources.events.common_event import common_event
from forensics.sources.events.records import Block
from forensics.sources.events.scalar_tensor import scalar
from forensics.sources.wire import FIXED32, FIXED64, LENGTH, VARINT, fields, signed

_DOUBLE, _FLOAT = struct.Struct("<d"), struct.Struct("<f")

_WALL_TIME, _STEP, _SUMMARY = 1, 2, 5
_EVENT_KINDS = {
    3: "file_version",
    4: "graph",
    6: "log_message",
    7: "session_log",
    8: "run_metadata",
    9: "meta_graph",
    10: "source_metadata",
}
_VALUE = 1
_TAG, _SIMPLE, _TENSOR = 1, 2, 8
_VALUE_KINDS = {3: "histogram", 4: "image", 5: "histogram", 6: "audio"}


@dataclass(frozen=True, slots=True)
class Column:
    """Scalars of one tag in the order they were written."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    wall_times: array[float] = field(default_factory=lambda: array("d"))


@dataclass(frozen=True, slots=True)
class Fault:
    """A record whose checksums verify and whose content cannot be understood."""

    offset: int
    kind: str
    detail: str


class EventColumns:
    """Collects the scalars of an event file.

    Attributes
    ----------
    columns : dict from bytes to Column
        By tag as written.
    faults : list of Fault
        Records that were left out.
    other : Counter of str
        What else there was, by kind.
    n_events : int
        Events understood.
    """

    def __init__(self) -> None:
        self.columns: dict[bytes, Column] = {}
        self.faults: list[Fault] = []
        self.other: Counter[str] = Counter()
        self.n_events = 0

    def take(self, block: Block) -> None:
        """Add the events of a block of records, all of an event or nothing."""
        for start, end in zip(block.starts, block.ends, strict=True):
            common = common_event(block.data, start, end)
            if common is not None:
                self._add(*common)
                continue
            try:
                self._event(block.data, start, end)
            except Damaged as error:
                offset = block.base + error.offset
                self.faults.append(Fault(offset, error.kind, error.detail))

    def _event(self, data: bytes, start: int, end: int) -> None:
        wall_time, step = 0.0, 0
        summaries: list[tuple[int, int]] = []
        kinds: list[str] = []
        for number, wire, first, last in fields(data, start, end):
            if number == _SUMMARY and wire == LENGTH:
                # Repeated on the wire, a message field means that both are merged.
                summaries.append((first, last))
            elif number == _STEP and wire == VARINT:
                step = signed(first)
            elif number == _WALL_TIME and wire == FIXED64:
                wall_time = _DOUBLE.unpack_from(data, first)[0]
            elif number in _EVENT_KINDS:
                kinds.append(_EVENT_KINDS[number])
        points = [point for span in summaries for point in _summary(data, *span, kinds)]
        self._add(wall_time, step, points)
        self.other.update(kinds)

    def _add(self, wall_time: float, step: int, points: list[tuple[bytes, float]]) -> None:
        self.n_events += 1
        for tag, value in points:
            column = self.columns.get(tag)
            if column is None:
                column = self.columns[tag] = Column()
            column.steps.append(step)
            column.values.append(value)
            column.wall_times.append(wall_time)


def _summary(data: bytes, start: int, end: int, kinds: list[str]) -> list[tuple[bytes, float]]:
    """Scalars of a Summary; the kinds of its other values are appended to `kinds`."""
    points: list[tuple[bytes, float]] = []
    for number, wire, first, last in fields(data, start, end):
        if number != _VALUE or wire != LENGTH:
            continue
        tag, value, kind = _value(data, first, last)
        if value is not None:
            points.append((tag, value))
        elif kind is not None:
            kinds.append(kind)
    return points


def _value(data: bytes, start: int, end: int) -> tuple[bytes, float | None, str | None]:
    """Tag, number and, if there is no number, kind of a Summary.Value."""
    tag = b""
    value: float | None = None
    kind: str | None = None
    tensor: bytes | None = None
    where = start
    for number, wire, first, last in fields(data, start, end):
        if number == _TAG and wire == LENGTH:
            tag = data[first:last]
        elif number == _SIMPLE and wire == FIXED32:
            value, kind, tensor = _FLOAT.unpack_from(data, first)[0], None, None
        elif number == _TENSOR and wire == LENGTH:
            # Of the alternatives in a oneof the last one counts; a message twice is merged.
            tensor, where = (tensor or b"") + data[first:last], first
            value, kind = None, None
        elif number in _VALUE_KINDS and wire == LENGTH:
            value, kind, tensor = None, _VALUE_KINDS[number], None
    if tensor is not None:
        try:
            value = scalar(tensor, 0, len(tensor))
        except Damaged as error:
            raise Damaged("", where + error.offset, error.kind, error.detail) from None
        kind = "tensor" if value is None else None
    return tag, value, kind
