"""Elements of zarr arrays: names of their dtypes, and the value of those that are not stored."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from forensics.errors import Damaged

CODES = {"b1": "bool", "c8": "complex64", "c16": "complex128"} | {
    f"{code}{size}": f"{name}{8 * size}"
    for code, name, widths in (("i", "int", (1, 2, 4, 8)), ("u", "uint", (1, 2, 4, 8)),
                               ("f", "float", (2, 4, 8)))
    for size in widths
}  # fmt: skip
_PLAIN = frozenset(CODES.values())
# What TensorStore adds to zarr's dtypes, named as in ml_dtypes.
ADDED = frozenset({
    "bfloat16", "float8_e3m4", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz",
    "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn", "int2", "int4", "uint2",
    "uint4",
})  # fmt: skip
KNOWN = _PLAIN | ADDED
"""Names of dtypes that elements may have."""
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def element(name: str) -> np.dtype[Any]:
    """Return the little-endian dtype of a name that metadata may have."""
    if name in _PLAIN:
        return np.dtype(name).newbyteorder("<")
    import ml_dtypes

    kind: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return kind


def fill_bytes(value: object, dtype: str, path: str) -> bytes:
    """Bytes of the element that stands for what is not stored.

    Parameters
    ----------
    value : object
        As JSON has it; null is zero.
    dtype : str
        Of the array.
    path : str
        The metadata, for errors.

    Raises
    ------
    Damaged
        It is no such element.
    """
    kind = element(dtype)
    try:
        if isinstance(value, list) and kind.kind == "c" and len(value) == 2:
            number: complex = complex(_number(value[0]), _number(value[1]))
            return np.array(number, kind).tobytes()
        if isinstance(value, str) and value.startswith("0x"):
            return int(value, 16).to_bytes(kind.itemsize, "little")
        with np.errstate(over="ignore", invalid="raise"):
            return np.array(0 if value is None else _number(value)).astype(kind).tobytes()
    except (ValueError, TypeError, ArithmeticError):
        detail = f"{str(value)[:40]!r} is no element of {dtype}"
        raise Damaged(path, 0, "bad_fill_value", detail) from None


def _number(value: object) -> Any:
    if isinstance(value, str):
        return _WORDS[value] if value in _WORDS else float(value)
    if isinstance(value, int | float):
        return value
    raise TypeError("a number was expected")
