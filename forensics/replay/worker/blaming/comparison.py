"""The non-finite elements of an answer against what the op should answer."""

from __future__ import annotations

from typing import Any, List, Tuple

import numpy as np

from .. import arrays
from .failing_op import FailingOp
from .references import reference
from .wording import real

EDGE = 0.99
"""A result above this part of the dtype's largest number may be rounded past it: the float16
spacing there is 1/2048 of the value, and a sum rounds more than once."""


class Comparison:
    """The non-finite elements of an answer against the reference.

    Parameters
    ----------
    op : FailingOp
        What answered.
    values : list of array
        The operands.
    output : array
        The answer.
    """

    def __init__(self, op: FailingOp, values: List[Any], output: Any) -> None:
        exact = reference(op.call.op_type, values, op.call.attrs, op.slot)
        self.mask = np.broadcast_to(arrays.bad_mask(output), output.shape)
        exact = np.broadcast_to(np.asarray(exact), output.shape)
        self.at_bad = exact[self.mask]
        self.answered, self.dtype = output[self.mask], output.dtype.name
        self.limit = largest_of(output.dtype)
        with np.errstate(all="ignore"):
            size = np.abs(self.at_bad)
            self.undefined = ~np.isfinite(self.at_bad)
            self.beyond = ~self.undefined & (size > self.limit)
            self.edge = ~self.undefined & ~self.beyond & (size > EDGE * self.limit)
            self.fits = ~self.undefined & (size <= EDGE * self.limit)

    def place(self, which: Any) -> Tuple[int, ...]:
        """Where in the answer the first of some bad elements is."""
        flat = np.nonzero(self.mask.ravel())[0][np.nonzero(which)[0][0]]
        return tuple(int(i) for i in np.unravel_index(flat, self.mask.shape))

    def example(self, which: Any) -> float:
        """Exact value of the first of some bad elements."""
        return real(self.at_bad[which][0])

    @property
    def count(self) -> int:
        """How many elements are bad."""
        return int(self.at_bad.size)


def largest_of(dtype: Any) -> float:
    """Largest finite number of a float or complex dtype."""
    dtype = np.dtype(dtype)
    if not np.issubdtype(dtype, np.inexact):
        # bfloat16, float8 and the like: TensorFlow knows
        import tensorflow as tf

        return float(tf.as_dtype(dtype).max)
    return float(np.finfo(dtype).max)


def tiny_of(dtype: Any) -> float:
    """Smallest normal number of a float dtype."""
    name = np.dtype(dtype).name
    return float(np.finfo("float32" if name == "bfloat16" else name).tiny)
