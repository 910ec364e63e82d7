"""One op, taken out of its step: run it again on any operands, in any mode, on any device."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Optional, Sequence, Set

import numpy as np

from .. import arrays
from ..tracing.tensors import value_of

EAGER, GRAPH, JIT = "eager", "graph", "jit"
INDICES = ("labels", "indices", "segment_ids", "targets")
"""Arguments whose values point into another operand; `axis`, `shape` and the like do not."""


class Argument:
    """A named argument and the operands that it takes: `many` of them in a list, or one."""

    __slots__ = ("first", "many", "name")

    def __init__(self, name: str, first: int, many: Optional[int]) -> None:
        self.name, self.first, self.many = name, first, many


class OpCall:
    """A call of `tf.raw_ops`.

    Parameters
    ----------
    op_type : str
        As registered in TensorFlow.
    arguments : list of Argument
        In the order of the operands.
    attrs : dict
        What `tf.raw_ops` takes beside the operands, as Python values; defaults are left out.
    variables : set of int
        Operands that are values of variables, which the op reads or changes in place.
    """

    def __init__(
        self, op_type: str, arguments: List[Argument], attrs: Dict[str, Any], variables: Set[int]
    ) -> None:
        self.op_type, self.arguments = op_type, arguments
        self.attrs, self.variables = attrs, variables

    def run(self, values: Sequence[Any], mode: str = EAGER, device: str = "") -> List[Any]:
        """Run it.

        Parameters
        ----------
        values : list of array
            One per operand.
        mode : str
            ``eager``, ``graph`` or ``jit`` (XLA).
        device : str
            As `tf.device` takes it; empty: where TensorFlow puts it.

        Returns
        -------
        list of array
            The outputs; of an op that works in place, the values of its variables after it.
        """
        import tensorflow as tf

        with np.errstate(all="ignore"), tf.device(device or None):
            tensors = [
                tf.Variable(v) if i in self.variables else tf.constant(v)
                for i, v in enumerate(values)
            ]
            outputs = self._call(tf, tensors, mode)
            if self.in_place:
                outputs = [tensors[i].read_value() for i in sorted(self.variables)]
            return [value_of(t) for t in outputs]

    def accepts(self, values: Sequence[Any]) -> bool:
        """Whether the shapes fit, by the op's shape function, which runs no kernel.

        A kernel that is given other shapes may abort the process.
        """
        import tensorflow as tf

        with tf.Graph().as_default():
            parts = []
            for i, value in enumerate(values):
                if i in self.variables:
                    parts.append(tf.raw_ops.VarHandleOp(dtype=value.dtype, shape=value.shape))
                elif arrays.is_float(value):
                    parts.append(tf.compat.v1.placeholder(value.dtype, value.shape))
                else:
                    parts.append(tf.constant(value))
            try:
                self._raw(tf)(**self.keywords(parts), **self.attrs)
            except Exception:
                return False
        return True

    def tensors_out(self, tensors: Sequence[Any]) -> List[Any]:
        """Run it on tensors, eagerly, and return tensors (for a gradient tape)."""
        import tensorflow as tf

        return _flat(self._raw(tf)(**self.keywords(tensors), **self.attrs))

    def _call(self, tf: Any, tensors: List[Any], mode: str) -> List[Any]:
        raw = self._raw(tf)
        given = [t.handle if i in self.variables else t for i, t in enumerate(tensors)]
        if mode == EAGER:
            return _flat(raw(**self.keywords(given), **self.attrs))
        # XLA needs axes and shapes at compile time: only what is no integer becomes a parameter
        places = [
            i for i, t in enumerate(tensors) if i not in self.variables and not t.dtype.is_integer
        ]

        def compiled(*parameters: Any) -> Any:
            whole = list(given)
            for place, parameter in zip(places, parameters):
                whole[place] = parameter
            return raw(**self.keywords(whole), **self.attrs)

        function = tf.function(compiled, autograph=False, jit_compile=mode == JIT)
        with _as_functions(tf):
            return _flat(function(*[given[i] for i in places]))

    def keywords(self, parts: Sequence[Any]) -> Dict[str, Any]:
        """Return `parts`, one per operand, by argument name."""
        return {
            a.name: parts[a.first] if a.many is None else list(parts[a.first : a.first + a.many])
            for a in self.arguments
        }

    def _raw(self, tf: Any) -> Any:
        return getattr(tf.raw_ops, self.op_type)

    @property
    def in_place(self) -> bool:
        """Whether its answer is what its variables hold afterwards: it has no outputs."""
        return bool(self.variables) and not outputs_of(self.op_type)

    def names(self) -> List[str]:
        """Return a name for each operand."""
        found: List[str] = []
        for a in self.arguments:
            found += [a.name] if a.many is None else ["%s_%d" % (a.name, i) for i in range(a.many)]
        return found

    def pointing(self) -> List[int]:
        """Operands whose values point into other operands."""
        return [
            a.first + i
            for a in self.arguments
            if a.name in INDICES
            for i in range(1 if a.many is None else a.many)
        ]


@contextlib.contextmanager
def _as_functions(tf: Any) -> Iterator[None]:
    """Let functions be functions within the block, where the program runs them eagerly."""
    eagerly = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(False)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(eagerly)


def outputs_of(op_type: str) -> List[Any]:
    """Return the declared outputs of an op."""
    from tensorflow.python.framework import op_def_registry

    return list(op_def_registry.get(op_type).output_arg)


def _flat(outputs: Any) -> List[Any]:
    if outputs is None:
        return []
    if isinstance(outputs, (list, tuple)):
        return [leaf for part in outputs for leaf in _flat(part)]
    return [outputs] if hasattr(outputs, "dtype") else []


def bits_of(outputs: Sequence[Any], slot: int) -> int:
    """Badness of one of the outputs; 0 where there is none."""
    if slot >= len(outputs) or outputs[slot] is None:
        return 0
    return arrays.badness(outputs[slot])


def differing(one: Sequence[Any], two: Sequence[Any]) -> bool:
    """Whether two answers are bad in different places."""
    return any(
        (arrays.bad_mask(a) != arrays.bad_mask(b)).any()
        for a, b in zip(one, two)
        if a is not None and b is not None and a.shape == b.shape
    )
