"""Sessions of TensorFlow 1 (START, STOP, CHECKPOINT), their run metadata, old logging messages.

Field numbers are those of ``tensorflow/core/util/event.proto``. TensorBoard drops what was logged
at or after the step of a START; here it is a row of its own, and nothing is dropped.
"""

from __future__ import annotations

from typing import Any

from forensics.sources.events.texts import readable
from forensics.sources.typed_fields import fields, message_field, number_field

Row = dict[str, Any]

_STATUS = {0: "unspecified", 1: "start", 2: "stop", 3: "checkpoint"}
_LEVEL = {0: "unknown", 10: "debugging", 20: "info", 30: "warn", 40: "error", 50: "fatal"}


def session_log(data: bytes, path: str = "") -> list[Row]:
    """Decode a SessionLog: ``status``, ``checkpoint_path``, ``message``."""
    row: Row = {"status": _STATUS[0], "checkpoint_path": "", "message": ""}
    for field in fields(data, (0, len(data)), path):
        if field.number == 1:
            number = number_field(field, path)
            row["status"] = _STATUS.get(number, str(number))
        elif field.number in (2, 3):
            start, end = message_field(field, path)
            key = "checkpoint_path" if field.number == 2 else "message"
            row[key] = readable(data[start:end])
    return [row]


def log_message(data: bytes, path: str = "") -> list[Row]:
    """Decode a LogMessage: ``level`` and ``message``."""
    row: Row = {"level": _LEVEL[0], "message": ""}
    for field in fields(data, (0, len(data)), path):
        if field.number == 1:
            number = number_field(field, path)
            row["level"] = _LEVEL.get(number, str(number))
        elif field.number == 2:
            start, end = message_field(field, path)
            row["message"] = readable(data[start:end])
    return [row]


def run_metadata(data: bytes, path: str = "") -> Row:
    """Decode a TaggedRunMetadata: ``name``, and the RunMetadata as bytes in ``data``."""
    row: Row = {"name": "", "data": b""}
    for field in fields(data, (0, len(data)), path):
        if field.number in (1, 2):
            start, end = message_field(field, path)
            content = data[start:end]
            row["name" if field.number == 1 else "data"] = (
                readable(content) if field.number == 1 else content
            )
    return row
