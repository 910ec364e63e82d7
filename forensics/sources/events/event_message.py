"""One event, by the rules of protobuf: its step, its scalars and where its other values lie.

Field numbers are those of ``tensorflow/core/util/event.proto`` and
``tensorflow/core/framework/summary.proto``. Fields that hold their default are absent on the wire:
step 0 is. Of alternatives (a oneof) the last one counts; a message that is written twice is merged.
Only the first event of a tag says by which plugin it was written, and that may be the one that was
lost; so a tensor is a scalar when it holds one number.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from forensics.errors import Damaged
from forensics.sources.events.blob_index import BlobKind
from forensics.sources.events.scalar_tensor import scalar
from forensics.sources.wire import (
    FIXED32,
    FIXED64,
    LENGTH,
    MALFORMED,
    VARINT,
    fields,
    signed,
    varint,
)

_DOUBLE, _FLOAT = struct.Struct("<d"), struct.Struct("<f")

_WALL_TIME, _STEP, _SUMMARY = 1, 2, 5
_SOURCE_METADATA = 10
"""The one field of an event, besides time and step, that is no alternative to its summary."""
_EVENT_KINDS = {
    3: None,
    4: BlobKind.GRAPH,
    6: BlobKind.LOG_MESSAGE,
    7: BlobKind.SESSION_LOG,
    8: BlobKind.RUN_METADATA,
    9: BlobKind.META_GRAPH,
}
"""Alternatives to the summary; 3 is the version of the file."""
_MERGED = (6, 7, 8)
"""Those that are messages: bytes and strings are replaced when they are written twice."""
_VALUE = 1
_TAG, _SIMPLE, _OLD_HISTOGRAM, _TENSOR, _METADATA = 1, 2, 3, 8, 9
_HPARAMS = b"\x0a\x07hparams"
"""The name of the plugin, as metadata begins with it."""
_VALUE_KINDS = {4: BlobKind.IMAGE, 5: BlobKind.HISTOGRAM, 6: BlobKind.AUDIO}

Scalar = tuple[bytes, float, bytes | None]
"""Tag, number, metadata (None where there is none)."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A value that is no scalar, and where in the data it lies."""

    tag: bytes
    kind: BlobKind
    start: int
    end: int
    metadata: bytes | None = None


@dataclass(slots=True)
class Event:
    """What one record says.

    Attributes
    ----------
    wall_time : float
        Seconds since the epoch.
    step : int
    values : list of Scalar or Blob
        In the order they were written.
    other : list of str
        Kinds of what else there is.
    faults : list of (int, str, str)
        Position in the data that were parsed, kind and detail of values that were left out: a
        message that is well-formed may hold a tensor that makes no sense.
    """

    wall_time: float = 0.0
    step: int = 0
    values: list[Scalar | Blob] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    faults: list[tuple[int, str, str]] = field(default_factory=list)


def parse_event(data: bytes, start: int, end: int) -> Event:
    """Parse the event in ``data[start:end]``.

    Raises
    ------
    Damaged
        It is malformed; offsets are positions in `data`.
    """
    event = Event()
    what = 0
    spans: list[tuple[int, int]] = []
    for number, wire, first, last in fields(data, start, end):
        if wire == LENGTH and (number == _SUMMARY or number in _EVENT_KINDS):
            if number != what or number not in (*_MERGED, _SUMMARY):
                spans.clear()
            what = number
            spans.append((first, last))
        elif number == _STEP and wire == VARINT:
            event.step = signed(first)
        elif number == _WALL_TIME and wire == FIXED64:
            event.wall_time = _DOUBLE.unpack_from(data, first)[0]
        elif number == _SOURCE_METADATA and wire == LENGTH:
            event.other = ["source_metadata"]
    if what == _SUMMARY:
        for span in spans:
            _summary(data, *span, event)
    elif what:
        kind = _EVENT_KINDS[what]
        if kind is None:
            event.other.append("file_version")
        else:
            event.values.append(Blob(b"", kind, *_whole(spans)))
    return event


def _whole(spans: list[tuple[int, int]]) -> tuple[int, int]:
    """Answer the place of a message; in pieces, as no writer writes it, it has none."""
    if len(spans) > 1:
        raise Damaged("", spans[1][0], "unsupported", "a value that is written in pieces")
    return spans[0]


def _summary(data: bytes, start: int, end: int, event: Event) -> None:
    for number, wire, first, last in fields(data, start, end):
        if number == _VALUE and wire == LENGTH:
            try:
                _value(data, first, last, event)
            except Damaged as error:
                if error.kind == MALFORMED:
                    raise
                event.faults.append((error.offset, error.kind, error.detail))


def _value(data: bytes, start: int, end: int, event: Event) -> None:
    tag, simple, what = b"", 0.0, 0
    spans: list[tuple[int, int]] = []
    described: list[tuple[int, int]] = []
    for number, wire, first, last in fields(data, start, end):
        if number == _TAG and wire == LENGTH:
            tag = data[first:last]
        elif number == _SIMPLE and wire == FIXED32:
            simple, what = _FLOAT.unpack_from(data, first)[0], number
        elif number == _METADATA and wire == LENGTH:
            described.append((first, last))
        elif wire == LENGTH and (number in _VALUE_KINDS or number in (_TENSOR, _OLD_HISTOGRAM)):
            if number != what:
                spans.clear()
            what = number
            spans.append((first, last))
    metadata = b"".join(data[first:last] for first, last in described) if described else None
    if what == _SIMPLE:
        event.values.append((tag, simple, metadata))
    elif what == _TENSOR:
        _tensor(data, tag, spans, described, metadata, event)
    elif what == _OLD_HISTOGRAM:
        event.other.append("obsolete_histogram")
    elif what:
        event.values.append(Blob(tag, _VALUE_KINDS[what], *_whole(spans), metadata))
    elif described:
        event.values.append(Blob(tag, BlobKind.METADATA, *_whole(described), metadata))


def _tensor(
    data: bytes,
    tag: bytes,
    spans: list[tuple[int, int]],
    described: list[tuple[int, int]],
    metadata: bytes | None,
    event: Event,
) -> None:
    message = b"".join(data[first:last] for first, last in spans)
    try:
        number = scalar(message, 0, len(message))
    except Damaged as error:
        where = spans[0][0] if len(spans) == 1 else spans[-1][0]
        raise Damaged("", where + error.offset, error.kind, error.detail) from None
    if number is not None:
        event.values.append((tag, number, metadata))
    elif len(described) == 1 and of_hparams(data, *described[0]):
        event.values.append(Blob(tag, BlobKind.METADATA, *described[0], metadata))
    else:
        event.values.append(Blob(tag, BlobKind.TENSOR, *_whole(spans), metadata))


def of_hparams(data: bytes, start: int, end: int) -> bool:
    """Whether metadata begins with the name of the plugin whose values are nothing but metadata.

    TensorFlow writes hyperparameters with an empty tensor beside them.
    """
    if data[start : min(end, start + 1)] != b"\x0a":
        return False
    try:
        _, name = varint(data, start + 1, end)
    except Damaged:
        return False
    return data[name:end].startswith(_HPARAMS)
