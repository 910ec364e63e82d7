"""Shapes of JSON values: each states its JSON Schema and reads a value that has it.

One statement serves both, so what the renderers rely on and what ``docs/report.schema.json``
promises cannot drift apart. Writing is strict, reading is lenient where readers of a newer report
must be: unknown keys and unknown words of a vocabulary pass, an absent key is a null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from forensics.domain.report import decode_number
from forensics.errors import ReportUnreadable

NON_FINITE = ("NaN", "Infinity", "-Infinity")

_INT64 = 2**63
_LARGEST = 1e308


class Shape(Protocol):
    """What every shape can do."""

    @property
    def null(self) -> bool:
        """Whether null is a value of this shape."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema."""

    def read(self, value: Any, where: str) -> Any:
        """Return the value, checked; raise `ReportUnreadable` with ``where`` if not."""


def _unreadable(where: str, wanted: str, value: Any) -> ReportUnreadable:
    return ReportUnreadable(f"{where or 'the report'}: expected {wanted}, not {_kind(value)}")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")


def _described(schema: dict[str, Any], about: str, null: bool) -> dict[str, Any]:
    if null and isinstance(schema.get("type"), str):
        schema = {**schema, "type": [schema["type"], "null"]}
    elif null and schema:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return {"description": about, **schema} if about else schema


@dataclass(frozen=True, slots=True)
class Anything:
    """Any JSON value."""

    about: str = ""
    null: bool = True

    def schema(self) -> dict[str, Any]:
        """No constraint."""
        return _described({}, self.about, False)

    def read(self, value: Any, where: str) -> Any:
        """Return it as it is."""
        return value


@dataclass(frozen=True, slots=True)
class Text:
    """A string; ``pattern`` binds writers only."""

    about: str = ""
    null: bool = False
    pattern: str | None = None

    def schema(self) -> dict[str, Any]:
        """Return a string schema."""
        own = {"type": "string", **({"pattern": self.pattern} if self.pattern else {})}
        return _described(own, self.about, self.null)

    def read(self, value: Any, where: str) -> Any:
        """Take a string."""
        if (value is None and self.null) or isinstance(value, str):
            return value
        raise _unreadable(where, "text", value)


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a vocabulary; ``foreign`` lets third parties use words that start with ``x-``."""

    words: tuple[str, ...]
    about: str = ""
    null: bool = False
    foreign: bool = False

    def schema(self) -> dict[str, Any]:
        """Return an enumeration."""
        if self.foreign:
            own: dict[str, Any] = {"anyOf": [{"enum": [*self.words]}, {"pattern": "^x-"}]}
            own = {"type": ["string", "null"] if self.null else "string", **own}
            if self.null:
                own["anyOf"].append({"type": "null"})
            return {"description": self.about, **own} if self.about else own
        values = [*self.words, *([None] if self.null else [])]
        return {**({"description": self.about} if self.about else {}), "enum": values}

    def read(self, value: Any, where: str) -> Any:
        """Take any string: a newer report may use newer words."""
        if (value is None and self.null) or isinstance(value, str):
            return value
        raise _unreadable(where, "a word", value)


@dataclass(frozen=True, slots=True)
class Number:
    """A number, or one of the three strings for those that strict JSON lacks."""

    about: str = ""
    null: bool = False
    low: float | None = None
    high: float | None = None

    def schema(self) -> dict[str, Any]:
        """Return a number, or a reference to it when it is not bounded."""
        if self.low is None and self.high is None:
            name = "number_or_null" if self.null else "number"
            own: dict[str, Any] = {"$ref": f"#/$defs/{name}"}
            return {"description": self.about, **own} if self.about else own
        own = {"type": "number", "minimum": self.low, "maximum": self.high}
        return _described({k: v for k, v in own.items() if v is not None}, self.about, self.null)

    def read(self, value: Any, where: str) -> Any:
        """Take a number; the three strings become floats."""
        if value is None and self.null:
            return None
        if isinstance(value, str) and value in NON_FINITE:
            return decode_number(value)
        if isinstance(value, float):
            return value
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST:
            return value
        raise _unreadable(where, "a number", value)


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number that fits int64."""

    about: str = ""
    null: bool = False

    def schema(self) -> dict[str, Any]:
        """Return an integer schema."""
        return _described({"type": "integer"}, self.about, self.null)

    def read(self, value: Any, where: str) -> Any:
        """Take an integer (5.0 is one in JSON)."""
        if value is None and self.null:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64:
            return value
        raise _unreadable(where, "an integer", value)


@dataclass(frozen=True, slots=True)
class Flag:
    """A boolean."""

    about: str = ""
    null: bool = False

    def schema(self) -> dict[str, Any]:
        """Return a boolean schema."""
        return _described({"type": "boolean"}, self.about, self.null)

    def read(self, value: Any, where: str) -> Any:
        """Take a boolean."""
        if (value is None and self.null) or isinstance(value, bool):
            return value
        raise _unreadable(where, "a boolean", value)


@dataclass(frozen=True, slots=True)
class Array:
    """Items of one shape; a null is read as an empty array."""

    items: Shape
    about: str = ""
    null: bool = False
    length: int | None = None

    def schema(self) -> dict[str, Any]:
        """Return an array schema."""
        own: dict[str, Any] = {"type": "array", "items": self.items.schema()}
        if self.length is not None:
            own.update(minItems=self.length, maxItems=self.length)
        return _described(own, self.about, self.null)

    def read(self, value: Any, where: str) -> Any:
        """Take an array, every item checked; of a fixed ``length`` or null."""
        if value is None:
            return [] if self.length is None else None
        if not isinstance(value, list | tuple) or self.length not in (None, len(value)):
            count = "" if self.length is None else f" of {self.length}"
            raise _unreadable(where, f"an array{count}", value)
        return [self.items.read(item, f"{where}[{i}]") for i, item in enumerate(value)]


@dataclass(frozen=True, slots=True)
class Object:
    """Named fields, all required of writers but the ``optional``; readers ignore other keys."""

    fields: Mapping[str, Shape]
    about: str = ""
    null: bool = False
    optional: Mapping[str, Shape] = field(default_factory=dict)
    keep: bool = False
    """Keep keys that are not named here (a configuration)."""

    def schema(self) -> dict[str, Any]:
        """Return an object schema that lets further keys pass."""
        shapes = {**self.fields, **self.optional}
        own: dict[str, Any] = {
            "type": "object",
            "properties": {name: shape.schema() for name, shape in shapes.items()},
            "required": [*self.fields],
        }
        return _described(own, self.about, self.null)

    def read(self, value: Any, where: str) -> Any:
        """Take an object; an absent key is read as null."""
        if value is None and self.null:
            return None
        if not isinstance(value, Mapping):
            raise _unreadable(where, "an object", value)
        shapes = {**self.fields, **self.optional}
        known = {
            name: shape.read(value.get(name), f"{where}.{name}" if where else name)
            for name, shape in shapes.items()
        }
        return {**{str(k): v for k, v in value.items()}, **known} if self.keep else known


@dataclass(frozen=True, slots=True)
class Table:
    """An object with free keys and values of one shape."""

    values: Shape
    about: str = ""
    null: bool = False

    def schema(self) -> dict[str, Any]:
        """Return an object schema with ``additionalProperties``."""
        own = {"type": "object", "additionalProperties": self.values.schema()}
        return _described(own, self.about, self.null)

    def read(self, value: Any, where: str) -> Any:
        """Take an object, every value checked."""
        if value is None and self.null:
            return None
        if not isinstance(value, Mapping):
            raise _unreadable(where, "an object", value)
        return {str(k): self.values.read(v, f"{where}.{k}") for k, v in value.items()}


@dataclass(frozen=True, slots=True)
class Variants:
    """Objects told apart by the word under ``type``; readers keep unknown types as they are."""

    kinds: Mapping[str, Object]
    about: str = ""
    null: bool = False

    def schema(self) -> dict[str, Any]:
        """Return one alternative a kind."""
        alternatives = []
        for kind, shape in self.kinds.items():
            own = shape.schema()
            own["properties"] = {"type": {"const": kind}, **own["properties"]}
            own["required"] = ["type", *own["required"]]
            alternatives.append(own)
        return _described({"oneOf": alternatives}, self.about, self.null)

    def read(self, value: Any, where: str) -> Any:
        """Take an object whose ``type`` is text."""
        if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
            raise _unreadable(where, "an object with a type", value)
        shape = self.kinds.get(value["type"])
        if shape is None:
            return dict(value)
        return {"type": value["type"], **shape.read(value, where)}


_S = TypeVar("_S", Text, Word, Number, Integer, Flag, Array, Object, Table)


def maybe(shape: _S) -> _S:
    """Return the same shape, or null where the value is not known."""
    return replace(shape, null=True)
