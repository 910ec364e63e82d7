"""What a step is given, batch and state: bad values in it, and the same without them."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from .. import arrays
from ..tracing import frames
from .state import Snapshot


def bad_parts(batch: Any, healthy_batch: Any) -> Tuple[str, ...]:
    """Parts of the batch that are non-finite where, or as, a healthy batch is not."""
    usual = dict(arrays.leaves(healthy_batch))
    return tuple(
        name
        for name, array in arrays.leaves(batch)
        if arrays.badness(array) & ~_badness_of(usual.get(name))
        or unusual(array, usual.get(name)).any()
    )


def unusual(array: Any, healthy: Any) -> Any:
    """Mask of bad elements at places that are never bad in a healthy batch (padding is).

    A place is an element of a row: the first axis counts the rows. Where the two cannot be compared
    every bad element counts that is of a kind which the healthy batch does not hold.
    """
    bad = arrays.bad_mask(array)
    if healthy is None or not _badness_of(healthy) or not bad.any():
        return bad
    if array.ndim == 0 or healthy.ndim != array.ndim or healthy.shape[1:] != array.shape[1:]:
        known = not arrays.badness(array) & ~arrays.badness(healthy)
        return np.zeros_like(bad) if known else bad
    return bad & ~arrays.bad_mask(healthy).any(axis=0)


def _badness_of(array: Any) -> int:
    return 0 if array is None else arrays.badness(array)


def input_origin(name: str, array: Any, rows: List[int], first: int = 0) -> Dict[str, Any]:
    """Fields of the report's origin for a part of the batch."""
    given = {"name": name, "rows": [first + row for row in rows]}
    return {
        "op_type": None, "op_name": None, "output_slot": None, "dtype": array.dtype.name,
        "shape": list(array.shape), "layer": None, "phase": "input",
        "input": given, "raised": None, "source": None,
        "forward_op_type": None, "inputs": [], "outputs": [arrays.statistics(name, array)],
    }  # fmt: skip


def batch_rows(batch: Any) -> Optional[int]:
    """Rows of a batch: the leading dimension that most parts share (the first part's on a tie)."""
    sizes = [a.shape[0] for _, a in arrays.leaves(batch) if a.ndim]
    return max(sizes, key=lambda n: (sizes.count(n), -sizes.index(n))) if sizes else None


def replace_bad(value: Any, spared: Optional[str] = None) -> Any:
    """Put zeros in place of the non-finite values of a batch, but for one part by name."""
    names = iter([name for name, _ in arrays.named_parts(value)])

    def repair(part: Any) -> Any:
        if next(names, None) == spared and spared is not None:
            return part
        try:
            array = np.array(part)
        except Exception:
            return part
        if not arrays.badness(array):
            return part
        array[arrays.bad_mask(array)] = 0
        return array

    return arrays.mapped(value, repair)


def repaired(snapshot: Snapshot, spared: Optional[int] = None) -> Snapshot:
    """Make the bad elements of a state zero, but for one variable by its key."""
    values = {}
    for key, value in snapshot.values.items():
        values[key] = value
        if key != spared and arrays.badness(value):
            values[key] = value.copy()
            values[key][arrays.bad_mask(value)] = 0
    return Snapshot(values)


def variable_origin(name: str, value: Any) -> Dict[str, Any]:
    """Fields of the report's origin for a variable that was bad before the step."""
    return {
        "op_type": "ReadVariableOp", "op_name": name, "output_slot": None,
        "dtype": value.dtype.name, "shape": list(value.shape),
        "layer": frames.layer_of_variable(name), "phase": "state", "input": None, "raised": None,
        "source": None, "forward_op_type": None, "inputs": [],
        "outputs": [arrays.statistics(name, value)],
    }  # fmt: skip
