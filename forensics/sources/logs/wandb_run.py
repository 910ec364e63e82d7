"""A run as Weights & Biases keeps it locally: ``run-<id>.wandb``, an append-only log of protobufs.

Field numbers are those of ``wandb/proto/wandb_internal.proto`` (wandb 0.12 to 0.31): a Record with
a history of items ``key`` (or ``nested_key``) and ``value_json``, the step that counts calls of
``log``, the configuration, and which metric another one is to be drawn over. Everything else (the
environment, the console, statistics of the machine) is passed over unread.
"""

from __future__ import annotations

import json
from math import nan
from pathlib import PurePosixPath
from typing import Any

from forensics.domain.run import InputState
from forensics.errors import Damaged
from forensics.sources.events.hparam_sessions import setting
from forensics.sources.logs.curve import LogFile, LogWriter
from forensics.sources.logs.level_log import HEADER, LevelLog
from forensics.sources.logs.numbers import plain, step_of
from forensics.sources.logs.pieces import Reader
from forensics.sources.logs.row_axes import RowAxes
from forensics.sources.storage.blob import Blob
from forensics.sources.wire import LENGTH, VARINT, fields

KIND = "wandb"
_HISTORY, _CONFIG, _METRIC, _RUN = 2, 5, 12, 17
_ITEM, _STEP = 1, 2
_KEY, _NESTED, _JSON = 1, 2, 16
_MOST_JSON = 1000
"""Characters of a value that may be a number."""
_MOST_WARNINGS = 20


def read_wandb(blob: Blob) -> LogFile:
    """Read the curves and the settings of a run."""
    log, run = LevelLog(blob), _Run()
    reader = Reader(blob)
    if blob.head(len(HEADER)) != HEADER:
        reader.note(0, "bad_header", "the file does not begin as W&B's runs do")
    for offset, data in log.records():
        try:
            run.take(data)
        except Damaged as error:
            log.damage.append(Damaged(blob.name, offset, error.kind, error.detail))
    for damaged in log.damage[:_MOST_WARNINGS]:
        reader.note(damaged.offset, damaged.kind, damaged.detail)
    if len(log.damage) > _MOST_WARNINGS:
        more = len(log.damage) - _MOST_WARNINGS
        reader.note(log.damage[_MOST_WARNINGS].offset, "bad_record", f"{more} more places")
    if log.cut and reader.state is InputState.COMPLETE:
        reader.state = InputState.INCOMPLETE_TAIL
    place = str(PurePosixPath(blob.name).parent)
    lossy = bool(log.damage)
    writer = LogWriter(blob.name, "", run.rows.curves(lossy=lossy), lossy)
    config = dict(s for name, value in run.config.items() if (s := setting(name, value)))
    return LogFile([writer], blob.record(KIND, reader.state), reader.warnings, config, run=place)


class _Run:
    """What the records tell."""

    def __init__(self) -> None:
        self.rows = RowAxes()
        self.config: dict[str, Any] = {}

    def take(self, data: bytes) -> None:
        """Take a record, all of it or nothing."""
        for number, wire, first, last in list(fields(data, 0, len(data))):
            if wire != LENGTH:
                continue
            if number == _HISTORY:
                self._history(data, first, last)
            elif number == _METRIC:
                self._metric(data, first, last)
            elif number == _CONFIG:
                self._settings(data, first, last)
            elif number == _RUN:
                for inner, kind, start, stop in fields(data, first, last):
                    if inner == 4 and kind == LENGTH:
                        self._settings(data, start, stop)

    def _history(self, data: bytes, start: int, end: int) -> None:
        row: dict[str, float] = {}
        step: int | None = None
        for number, wire, first, last in fields(data, start, end):
            if number == _ITEM and wire == LENGTH:
                name, text = _item(data, first, last)
                value = plain(_value(text))
                if name and value is not None:
                    row[name] = value
            elif number == _STEP and wire == LENGTH:
                # A default of 0 is not on the wire.
                step = next((f[2] for f in fields(data, first, last) if f[:2] == (1, VARINT)), 0)
        counted = step_of(row.pop("_step", None))
        row.pop("_runtime", None)
        time = row.pop("_timestamp", nan)
        self.rows.take(row, step if counted is None else counted, time)

    def _metric(self, data: bytes, start: int, end: int) -> None:
        """Take the definition of a metric: over which other one it is to be drawn."""
        names = {
            number: data[first:last].decode("utf-8", "replace")
            for number, wire, first, last in fields(data, start, end)
            if wire == LENGTH and number in (1, 2, 4)
        }
        if 4 in names:
            self.rows.define(names.get(1, names.get(2, "")), names[4])

    def _settings(self, data: bytes, start: int, end: int) -> None:
        for number, wire, first, last in fields(data, start, end):
            if number == 1 and wire == LENGTH:
                name, text = _item(data, first, last)
                value = _value(text)
                if name and isinstance(value, str | int | float):
                    self.config[name] = value


def _item(data: bytes, start: int, end: int) -> tuple[str, str]:
    """Return name (parts joined by dots) and JSON of an item."""
    names: list[str] = []
    text = ""
    for number, wire, first, last in fields(data, start, end):
        if wire == LENGTH and number in (_KEY, _NESTED):
            names.append(data[first:last].decode("utf-8", "replace"))
        elif wire == LENGTH and number == _JSON and last - first <= _MOST_JSON:
            text = data[first:last].decode("utf-8", "replace")
    return ".".join(names), text


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
