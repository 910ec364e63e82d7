"""The wire to the parent: JSON lines on what was stdout; the user's own prints go to stderr."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any, Dict


class Channel:
    """Takes over file descriptor 1.

    Nothing that the user's program prints can then be mistaken for an answer.
    """

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def progress(self, message: str) -> None:
        """Tell the parent what is going on."""
        self._send({"progress": message})

    def partial(self, answer: Dict[str, Any]) -> None:
        """Hand over what is known so far: it stands if the rest does not come back."""
        self._send({"partial": answer})

    def answer(self, answer: Dict[str, Any]) -> None:
        """Hand over the answer."""
        self._send({"answer": answer})

    def _send(self, message: Dict[str, Any]) -> None:
        self._out.write(json.dumps(strict(message)) + "\n")
        self._out.flush()


def strict(value: Any) -> Any:
    """Turn `value` into strict JSON: numpy scalars to Python's, non-finite numbers to strings."""
    if isinstance(value, dict):
        return {str(k): strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [strict(v) for v in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    if not isinstance(value, (int, float)):
        try:
            value = value.item()
        except Exception:
            return str(value)
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
    return value if isinstance(value, (bool, int, float, str)) else str(value)
