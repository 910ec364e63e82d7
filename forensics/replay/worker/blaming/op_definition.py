"""A call of `tf.raw_ops`, made by the registered definition of an op from what was seen of it."""

from __future__ import annotations

import inspect
from typing import Any, Dict, List, Optional, Sequence, Set

from .opcall import Argument, OpCall


class NoCall(Exception):
    """The op cannot be run by itself; the message says why."""


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
