"""What a step is given, batch and state: bad values in it, and the same without them."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from .. import arrays
from ..tracing import frames
from .state import Snapshot


def bad_parts(batch: Any, healthy_batch: Any) -> Tuple[str, ...]:
    """Parts of the batch that hold non-finite values which a healthy batch does not hold."""
    usual = {n: arrays.badness(a) for n, a in arrays.leaves(healthy_batch)}
    return tuple(
        name for name, array in arrays.leaves(batch) if arrays.badness(array) & ~usual.get(name, 0)
    )


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


def repaired(snapshot: Snapshot) -> Snapshot:
    """Make the bad elements of a state zero."""
    values = {}
    for key, value in snapshot.values.items():
        values[key] = value
        if arrays.badness(value):
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
