"""Numbers as logs spell them, within the bounds of the arrays that take them."""

from __future__ import annotations

import math
import re

NUMBER = r"[-+]?+(?>nan|inf(?>inity)?+|(?>\d++(?>\.\d*+)?+|\.\d++)(?>e[-+]?\d++)?+)"
"""A number, for patterns that ignore case; nothing in it is tried twice."""
_TENSOR = re.compile(r"(?:tf\.tensor\(|tensor\()[ ]{0,4}(" + NUMBER + r")\b[^\n]{0,120}\)", re.I)
MOST_STEP = 1 << 53
"""Steps above are no steps, and could not be held by every format."""


def number(text: str) -> float | None:
    """Return the number that a cell holds, None where it holds none.

    ``tensor(2.3)`` and ``tf.Tensor(2.3, shape=(), dtype=float32)`` are numbers that were logged by
    mistake as what prints them.
    """
    try:
        # Python's own grammar allows separators within numbers.
        return float(text) if "_" not in text else None
    except ValueError:
        match = _TENSOR.fullmatch(text.strip()) if "ensor" in text else None
        return float(match[1]) if match else None


def step_of(value: float | None) -> int | None:
    """Return a step, None where the number cannot be one."""
    if value is None or not math.isfinite(value) or value != int(value):
        return None
    return int(value) if 0 <= value <= MOST_STEP else None


def plain(value: object) -> float | None:
    """Return the number that a JSON value is; a number in quotes is one, a boolean is none.

    Examples
    --------
    >>> plain("NaN"), plain(True), plain(3)
    (nan, None, 3.0)
    """
    if isinstance(value, str):
        return number(value) if len(value) < 1000 else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
