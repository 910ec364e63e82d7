"""Hyperparameters as the HParams plugin of TensorBoard stores them: in a tag's metadata.

TensorFlow (``hp.hparams``, ``KerasCallback``), PyTorch, tensorboardX and Lightning all write a
``HParamsPluginData`` as content of the plugin [1]_: an experiment, a session's start with the
values, a session's end with its status.

References
----------
.. [1] TensorBoard, ``tensorboard/plugins/hparams/plugin_data.proto`` and ``api.proto``; values are
   ``google.protobuf.Value``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from forensics.errors import Damaged
from forensics.sources.events.texts import readable
from forensics.sources.typed_fields import Field, fields, message_field, number_field
from forensics.sources.wire import FIXED64

PLUGIN = "hparams"
_EXPERIMENT, _START, _END = 2, 3, 4
_NULL, _NUMBER, _STRING, _BOOL, _STRUCT, _LIST = 1, 2, 3, 4, 5, 6
_STATUS = {0: "unknown", 1: "success", 2: "failure", 3: "running"}
_MAX_DEPTH = 32


@dataclass(slots=True)
class HParams:
    """What one plugin content says; the parts that it does not hold are empty or None.

    Parameters
    ----------
    values : dict
        By name: number, text, truth, None, list or dict.
    group : str
        Name of the session group.
    started, ended : float or None
        Seconds since the epoch.
    status : str or None
        How the session ended: ``success``, ``failure``, ``running`` or ``unknown``.
    declared : tuple of str
        Names that an experiment declares.
    metrics : tuple of str
        Tags of the metrics that an experiment declares.
    """

    values: dict[str, Any] = field(default_factory=dict)
    group: str = ""
    started: float | None = None
    ended: float | None = None
    status: str | None = None
    declared: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


def decode_hparams(content: bytes, path: str = "") -> HParams:
    """Decode an ``HParamsPluginData``.

    Raises
    ------
    Damaged
        It is none.
    """
    found = HParams()
    for part in fields(content, (0, len(content)), path):
        if part.number == _EXPERIMENT:
            _experiment(content, message_field(part, path), path, found)
        elif part.number == _START:
            _start(content, message_field(part, path), path, found)
        elif part.number == _END:
            _end(content, message_field(part, path), path, found)
    return found


def _experiment(data: bytes, span: tuple[int, int], path: str, found: HParams) -> None:
    for part in fields(data, span, path):
        if part.number == 4:
            for inner in fields(data, message_field(part, path), path):
                if inner.number == 1:
                    found.declared += (_text(data, inner, path),)
        elif part.number == 5:
            for inner in fields(data, message_field(part, path), path):
                if inner.number == 1:
                    found.metrics += (_metric(data, message_field(inner, path), path),)


def _metric(data: bytes, span: tuple[int, int], path: str) -> str:
    names = {part.number: _text(data, part, path) for part in fields(data, span, path)}
    return "/".join(names[number] for number in (1, 2) if names.get(number))


def _start(data: bytes, span: tuple[int, int], path: str, found: HParams) -> None:
    for part in fields(data, span, path):
        if part.number == 1:
            name, value = _entry(data, message_field(part, path), path, 0)
            found.values[name] = value
        elif part.number == 4:
            found.group = _text(data, part, path)
        elif part.number == 5:
            found.started = _double(data, part, path)


def _end(data: bytes, span: tuple[int, int], path: str, found: HParams) -> None:
    found.status = _STATUS[0]
    for part in fields(data, span, path):
        if part.number == 1:
            found.status = _STATUS.get(number_field(part, path), _STATUS[0])
        elif part.number == 2:
            found.ended = _double(data, part, path)


def _entry(data: bytes, span: tuple[int, int], path: str, depth: int) -> tuple[str, Any]:
    """Key and value of an entry of a map."""
    name, value = "", None
    for part in fields(data, span, path):
        if part.number == 1:
            name = _text(data, part, path)
        elif part.number == 2:
            value = _value(data, message_field(part, path), path, depth)
    return name, value


def _value(data: bytes, span: tuple[int, int], path: str, depth: int) -> Any:
    """Value of a ``google.protobuf.Value``."""
    if depth > _MAX_DEPTH:
        raise Damaged(path, span[0], "bad_hparams", "values nested too deep")
    value: Any = None
    for part in fields(data, span, path):
        if part.number == _NULL:
            value = None
        elif part.number == _NUMBER:
            value = _double(data, part, path)
        elif part.number == _STRING:
            value = _text(data, part, path)
        elif part.number == _BOOL:
            value = bool(number_field(part, path))
        elif part.number == _STRUCT:
            inner = fields(data, message_field(part, path), path)
            entries = [message_field(item, path) for item in inner if item.number == 1]
            value = dict(_entry(data, entry, path, depth + 1) for entry in entries)
        elif part.number == _LIST:
            inner = fields(data, message_field(part, path), path)
            spans = [message_field(item, path) for item in inner if item.number == 1]
            value = [_value(data, item, path, depth + 1) for item in spans]
    return value


def _double(data: bytes, part: Field, path: str) -> float:
    if part.wire_type != FIXED64:
        raise Damaged(path, part.last, "bad_wire", "a number is not stored as one")
    value: float = struct.unpack_from("<d", data, part.first)[0]
    return value


def _text(data: bytes, part: Field, path: str) -> str:
    start, end = message_field(part, path)
    return readable(data[start:end])
