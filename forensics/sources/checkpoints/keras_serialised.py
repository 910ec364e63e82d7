"""Parts of a configuration as Keras serialises objects: class name, configuration, plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forensics.sources.checkpoints.contents import shortest

_MAX_OPTIONS, _MAX_WORD = 100, 1000
_EXACT = 1 << 53
_INTERNAL = frozenset({"name", "is_legacy_optimizer"})


def mapping_of(value: object) -> Mapping[str, Any]:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text_of(value: object) -> str | None:
    """Return the value if it is text."""
    # JSON can spell half a surrogate pair, UTF-8 cannot.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def name_of(value: object) -> str | None:
    """Name of something serialised: a plain name, a function, or a configured object."""
    serialised = mapping_of(value)
    if not serialised:
        return text_of(value)
    config = serialised.get("config")
    if serialised.get("class_name") in ("function", "DTypePolicy"):
        return text_of(config) or text_of(mapping_of(config).get("name"))
    return text_of(mapping_of(config).get("name")) or text_of(serialised.get("class_name"))


def class_name(serialised: Mapping[str, Any]) -> str | None:
    """Class of something serialised; Keras 2 calls its own newer optimizers ``Custom>Adam``."""
    name = text_of(serialised.get("class_name"))
    return name.removeprefix("Custom>") if name else None


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers, words and truth values of a configuration; nested things and what is unset are left.

    Numbers that once were float32 are as short as their precision allows.
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = text_of(key)
        if len(found) >= _MAX_OPTIONS or name is None or name in _INTERNAL:
            continue
        if isinstance(value, bool):
            found[name] = value
        elif isinstance(value, float):
            short = shortest(value)
            found[name] = int(short) if short.is_integer() and abs(short) < _EXACT else short
        elif isinstance(value, str) and len(value) <= _MAX_WORD:
            found[name] = text_of(value)
    return found
