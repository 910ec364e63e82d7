"""JSON objects in checkpoints: no key twice, no constant that is no JSON, all text is UTF-8."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from forensics.errors import Damaged


def parse_object(data: bytes | memoryview, path: str, at: int = 0) -> dict[str, Any]:
    """Parse a JSON object.

    Parameters
    ----------
    data : bytes
        All of it.
    path : str
        The file, for errors.
    at : int
        Where it begins in the file.

    Raises
    ------
    Damaged
        ``bad_json``: it is none, holds a key twice, or is nested too deep.
    """
    try:
        value = json.loads(
            bytes(data).decode(), object_pairs_hook=_once, parse_constant=_no_constant
        )
        # JSON can spell half a surrogate pair, UTF-8 cannot.
        _check_text(value)
    except RecursionError:
        raise Damaged(path, at, "bad_json", "the JSON is nested too deep") from None
    except ValueError as error:
        why = str(error).splitlines()[0][:200]
        raise Damaged(path, at, "bad_json", f"this is no JSON: {why}") from None
    if not isinstance(value, dict):
        raise Damaged(path, at, "bad_json", "the JSON is no object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _check_text(value: object) -> None:
    """Raise UnicodeEncodeError, a ValueError, where a text is not UTF-8."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for key, item in value.items():
            key.encode()
            _check_text(item)
    elif isinstance(value, list):
        for item in value:
            _check_text(item)


def mapping(value: object) -> Mapping[str, Any]:
    """Return an object as it is, and anything else as an empty one."""
    return value if isinstance(value, dict) else {}


def sizes(value: object) -> tuple[int, ...] | None:
    """Return a list of integers from 0 to 2**63 - 1 as a tuple, and anything else as None."""
    if not isinstance(value, list):
        return None
    if any(type(item) is not int or not 0 <= item < 1 << 63 for item in value):
        return None
    return tuple(value)
