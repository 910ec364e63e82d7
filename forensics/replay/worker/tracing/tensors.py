"""Eager tensors as arrays: read, copied, patched in place."""

from __future__ import annotations

from typing import Any, List

import numpy as np

from .. import arrays
from .records import Operands


def value_of(tensor: Any) -> Any:
    """Array of an eager tensor on the host, sharing its memory; None for resources and variants."""
    try:
        array = tensor._numpy()
    except Exception:
        return None
    return np.asarray(array) if not isinstance(array, np.ndarray) else array


def operands_of(op_type: str, inputs: Any, attrs: Any, outputs: Any) -> Operands:
    """Copy all that an op was given and answered."""

    def copied(tensors: Any) -> List[Any]:
        return [None if a is None else a.copy() for a in map(value_of, tensors or ())]

    flat = tuple(attrs or ())
    named = {str(k): v for k, v in zip(flat[::2], flat[1::2])}
    handles = [getattr(t, "_id", None) for t in inputs or ()]
    return Operands(op_type, named, copied(inputs), copied(outputs), handles)


def make_finite(tensor: Any, array: Any) -> bool:
    """Replace bad elements in place: the tensor's own buffer, so that the tape sees it too.

    Returns False where the array is a copy, because the tensor lies in the memory of a GPU.
    """
    if "CPU" not in str(getattr(tensor, "backing_device", "CPU")):
        return False
    mask = arrays.bad_mask(array)
    finite = arrays.widen(array)[~mask]
    array[mask] = np.median(finite) if finite.size else 0
    return True


def flatten(value: Any) -> List[Any]:
    """Leaves of nested dicts, lists and tuples."""
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in flatten(part)]
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in flatten(part)]
    return [value]
