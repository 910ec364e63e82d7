"""One op, taken out of its step: run it again on any operands, in any mode, on any device."""

from __future__ import annotations

import inspect
from typing import Any, Dict, List, Optional, Sequence, Set

import numpy as np

from . import arrays
from .trace import value_of

EAGER, GRAPH, JIT = "eager", "graph", "jit"
INDICES = ("labels", "indices", "segment_ids", "targets")
"""Arguments whose values point into another operand; `axis`, `shape` and the like do not."""


class NoCall(Exception):
    """The op cannot be run by itself; the message says why."""


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


def call_of(
    op_type: str, attrs: Dict[str, Any], inputs: Sequence[Any], variables: Set[int]
) -> OpCall:
    """Make a call of what the trace saw of an op.

    Raises
    ------
    NoCall
        When it is no op of `tf.raw_ops`, or takes what cannot be written down (functions).
    """
    import tensorflow as tf
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(op_type)
    if definition is None or not hasattr(tf.raw_ops, op_type):
        raise NoCall("%s is no op of tf.raw_ops" % op_type)
    missing = [i for i, v in enumerate(inputs) if v is None and i not in variables]
    if missing:
        raise NoCall("operand %d of %s is no array" % (missing[0], op_type))
    public = public_names(tf, definition)
    arguments = _arguments(definition, attrs, len(inputs))
    for argument in arguments:
        argument.name = public.get(argument.name, argument.name)
    attributes = {public.get(k, k): v for k, v in _attributes(tf, definition, attrs).items()}
    return OpCall(op_type, arguments, attributes, variables)


def public_names(tf: Any, definition: Any) -> Dict[str, str]:
    """Names that `tf.raw_ops` gives to arguments which are registered under others.

    `Sum` has `reduction_indices` where the function takes `axis`.
    """
    registered = [p.name for p in [*definition.input_arg, *definition.attr]]
    parameters = inspect.signature(getattr(tf.raw_ops, definition.name)).parameters
    fresh = [p for p in parameters if p not in registered and p != "name"]
    renamed = [n for n in registered if n not in parameters and n not in _inferred(definition)]
    return dict(zip(renamed, fresh))


def _inferred(definition: Any) -> Set[str]:
    """Attributes that follow from the operands."""
    return {
        name
        for a in definition.input_arg
        for name in (a.type_attr, a.number_attr, a.type_list_attr)
    }


def _arguments(definition: Any, attrs: Dict[str, Any], count: int) -> List[Argument]:
    arguments, first = [], 0
    for argument in definition.input_arg:
        many: Optional[int] = None
        if argument.number_attr:
            many = int(attrs.get(argument.number_attr, count - first))
        elif argument.type_list_attr:
            types = attrs.get(argument.type_list_attr)
            many = len(types) if isinstance(types, (list, tuple)) else count - first
        arguments.append(Argument(argument.name, first, many))
        first += 1 if many is None else many
    if first != count:
        raise NoCall("%s has %d operands where %d are declared" % (definition.name, count, first))
    return arguments


def _attributes(tf: Any, definition: Any, attrs: Dict[str, Any]) -> Dict[str, Any]:
    found, inferred = {}, _inferred(definition)
    for declared in definition.attr:
        value = attrs.get(declared.name)
        if declared.name in inferred or value is None:
            continue
        value = _python(tf, declared.type, value)
        if not declared.HasField("default_value") or value != _default(tf, declared):
            found[declared.name] = value
    return found


def _python(tf: Any, kind: str, value: Any) -> Any:
    """Turn an attribute as the runtime hands it over into what `tf.raw_ops` takes."""
    if kind.startswith("list("):
        return [_python(tf, kind[5:-1], v) for v in value]
    if kind == "type":
        return tf.as_dtype(value)
    if kind == "string":
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if kind == "shape":
        return _dimensions(tf.TensorShape(value))
    if kind in ("int", "float", "bool"):
        return {"int": int, "float": float, "bool": bool}[kind](value)
    raise NoCall("an attribute of kind %s cannot be written down" % kind)


def _dimensions(shape: Any) -> Any:
    return None if shape.rank is None else shape.as_list()


def _default(tf: Any, declared: Any) -> Any:
    raw, kind = declared.default_value, declared.type
    field = {"int": "i", "float": "f", "bool": "b", "string": "s", "type": "type", "shape": "shape"}
    if kind.startswith("list("):
        inner = kind[5:-1]
        return [_python(tf, inner, v) for v in getattr(raw.list, field.get(inner, "s"))]
    return _python(tf, kind, getattr(raw, field[kind])) if kind in field else None


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
