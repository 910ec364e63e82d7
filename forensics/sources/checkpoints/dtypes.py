"""Names of dtypes, of NumPy and of ml_dtypes, and what they look like in a file."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

NOT_NUMERIC = frozenset({"string", "opaque", "resource", "variant"})
"""Dtypes whose elements are no numbers of one width."""


@cache
def numpy_dtype(name: str) -> np.dtype[Any]:
    """Little-endian NumPy dtype for the name of a numeric one.

    Parameters
    ----------
    name : str
        Of NumPy, ml_dtypes or TensorFlow (whose quantised integers are integers in files).

    Raises
    ------
    KeyError
        There is no such dtype.
    """
    if name.startswith(("qint", "quint")):
        name = name[1:]
    try:
        dtype: np.dtype[Any] = np.dtype(name).newbyteorder("<")
    except TypeError:
        import ml_dtypes

        found = getattr(ml_dtypes, name, None)
        if not isinstance(found, type):
            raise KeyError(name) from None
        dtype = np.dtype(found)
    return dtype
