"""The finished report: the object that every renderer reads and that `report.json` holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np

from forensics.errors import ReportUnreadable

SCHEMA_VERSION = "1.0"

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

SECTIONS = (
    "schema_version",
    "tool",
    "run",
    "environment",
    "config",
    "inputs",
    "limits",
    "verdict",
    "series",
    "layers",
    "findings",
    "not_checked",
    "change_points",
    "lead_indicators",
    "checkpoints",
    "last_finite_checkpoint",
    "last_checkpoint_before_onset",
    "first_poisoned_checkpoint",
    "replay",
    "diagnoses",
    "warnings",
)
"""Keys of the document, in the order they are written; unknown is null, never absent."""


def encode(value: Any) -> Any:
    """Turn domain values into strict JSON: dataclasses to objects, non-finite numbers to strings.

    A dataclass with a class attribute ``type`` (the evidence variants) carries it as its first key.
    """
    if is_dataclass(value) and not isinstance(value, type):
        own = {f.name: encode(getattr(value, f.name)) for f in fields(value)}
        kind = getattr(type(value), "type", None)
        return {"type": kind, **own} if isinstance(kind, str) else own
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | np.floating):
        return encode_number(float(value))
    if isinstance(value, np.bool_ | np.integer):
        return value.item()
    if isinstance(value, np.ndarray):
        return [encode(v) for v in value.tolist()]
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [encode(v) for v in value]
    if isinstance(value, set | frozenset):
        return [encode(v) for v in sorted(value)]
    if isinstance(value, PurePath):
        return value.as_posix()
    raise TypeError(f"{type(value).__name__} has no place in a report")


def encode_number(value: float) -> float | str:
    """One number in strict JSON."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def decode_number(value: float | str | None) -> float | None:
    """Back from `encode_number`; None stays None.

    Raises
    ------
    ValueError
        When a string is none of the three non-finite names.
    """
    if value is None or not isinstance(value, str):
        return value
    if value not in _NON_FINITE:
        raise ValueError(f"not a number of a report: {value!r}")
    return _NON_FINITE[value]


@dataclass(frozen=True, slots=True)
class Report:
    """A finished analysis.

    Parameters
    ----------
    document : dict
        Strict JSON, exactly the object of ``docs/report.schema.json``.
    """

    document: dict[str, Any]

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Report:
        """Take a saved document; unknown keys are ignored, so that newer reports stay readable.

        Raises
        ------
        ReportUnreadable
            When a section is missing or the major schema version is another one.
        """
        version = document.get("schema_version")
        if not isinstance(version, str) or version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
            raise ReportUnreadable(f"not a report of schema {SCHEMA_VERSION}: version {version!r}")
        missing = [key for key in SECTIONS if key not in document]
        if missing:
            raise ReportUnreadable(f"the report has no {', '.join(missing)}")
        return cls({key: document[key] for key in SECTIONS})

    def to_dict(self) -> dict[str, Any]:
        """Return the document, keys in the contract's order."""
        return {key: self.document[key] for key in SECTIONS}

    @property
    def verdict(self) -> dict[str, Any]:
        """The verdict section."""
        verdict: dict[str, Any] = self.document["verdict"]
        return verdict
