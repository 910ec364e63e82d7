"""Short programs of ops that ran eagerly, to be compiled and run on the same operands."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Tuple

from .tensors import value_of

HANDLES = ("resource", "variant", "string")
MAX_STEPS = 16
"""Ops of one program: what XLA or Grappler rewrite lies close together."""
CONSTANT_ELEMENTS = 16
"""Operands nobody computed are constants of the program up to this size: constants are folded."""

Operand = Tuple[str, Any, int]
"""``step`` and its number and output, ``given`` and its number, or ``constant`` and its value."""


class Executed:
    """An op that ran: what it takes to run it again."""

    __slots__ = ("attrs", "inputs", "op_type")

    def __init__(self, op_type: str, attrs: Any, inputs: List[Any]) -> None:
        self.op_type, self.attrs, self.inputs = op_type, attrs, inputs


class Program:
    """An op with those that made its operands, up to some distance.

    Parameters
    ----------
    last : Executed
        The op whose outputs the program returns.
    makers : dict
        Op and output number by tensor number.
    depth : int
        How far back producers are part of the program; 0: none.
    """

    def __init__(self, last: Executed, makers: Dict[int, Tuple[Executed, int]], depth: int) -> None:
        self.steps: List[Tuple[Executed, List[Operand]]] = []
        self.given: List[Any] = []
        self._makers = makers
        self._numbers: Dict[int, int] = {}
        self._given: Dict[int, int] = {}
        self._add(last, depth)

    def _add(self, executed: Executed, depth: int) -> int:
        if id(executed) not in self._numbers:
            operands = [self._operand(tensor, depth) for tensor in executed.inputs]
            self.steps.append((executed, operands))
            self._numbers[id(executed)] = len(self.steps) - 1
        return self._numbers[id(executed)]

    def _operand(self, tensor: Any, depth: int) -> Operand:
        maker = self._makers.get(tensor._id)
        if maker is not None and depth > 0 and len(self.steps) < MAX_STEPS:
            return ("step", self._add(maker[0], depth - 1), maker[1])
        # XLA needs axes and shapes at compile time, and constants are folded
        if tensor.dtype.is_integer or (maker is None and depth > 0):
            value = value_of(tensor)
            if value is not None and value.size <= CONSTANT_ELEMENTS:
                return ("constant", value, 0)
        if tensor._id not in self._given:
            self._given[tensor._id] = len(self.given)
            self.given.append(tensor)
        return ("given", self._given[tensor._id], 0)

    @property
    def key(self) -> Any:
        """What programs have in common that can be compiled as one."""
        return (
            tuple(
                (step.op_type, repr(step.attrs), tuple(_hashable(o) for o in operands))
                for step, operands in self.steps
            ),
            tuple((t.dtype, tuple(t.shape)) for t in self.given),
        )

    @property
    def names(self) -> str:
        """Types of its ops in the order they ran."""
        return ", ".join(step.op_type for step, _ in self.steps)

    def compiled(self, jit: bool) -> Any:
        """Make a function of its given tensors, compiled by XLA or as a graph."""
        import tensorflow as tf

        steps = [(s.op_type, _attributes(s.attrs), operands) for s, operands in self.steps]

        def call(*given: Any) -> Any:
            made: List[List[Any]] = []
            for op_type, attrs, operands in steps:
                tensors = [_resolved(tf, operand, made, given) for operand in operands]
                made.append(execute(op_type, attrs, tensors))
            return made[-1]

        # AutoGraph has nothing to convert here
        return tf.function(call, jit_compile=jit or None, autograph=False)


def is_pure(op_type: str) -> bool:
    """Whether an op is known and has no state: running it again changes nothing."""
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(op_type)
    return definition is not None and not definition.is_stateful


def execute(op_type: str, attrs: Dict[str, Any], tensors: List[Any]) -> List[Any]:
    """Run an op by its name on the flat list of its operands, eagerly or in a graph."""
    from tensorflow.python.framework import op_def_library, op_def_registry

    definition = op_def_registry.get(op_type)
    inferred = {
        name
        for argument in definition.input_arg
        for name in (argument.type_attr, argument.number_attr, argument.type_list_attr)
    }
    fixed = {k: v for k, v in attrs.items() if k not in inferred and not k.startswith("_")}
    named = dict(_arguments(definition, attrs, tensors))
    found = op_def_library.apply_op(op_type, **named, **fixed)
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _attributes(attrs: Any) -> Dict[str, Any]:
    flat = tuple(attrs or ())
    return {str(k): v for k, v in zip(flat[::2], flat[1::2])}


def _resolved(tf: Any, operand: Operand, made: List[List[Any]], given: Any) -> Any:
    kind, what, slot = operand
    if kind == "step":
        return made[what][slot]
    return given[what] if kind == "given" else tf.constant(what)


def _hashable(operand: Operand) -> Any:
    kind, what, slot = operand
    if kind != "constant":
        return operand
    return kind, what.tobytes(), str(what.dtype), what.shape, slot


def _arguments(
    definition: Any, attrs: Dict[str, Any], tensors: List[Any]
) -> Iterator[Tuple[str, Any]]:
    """Arguments of an op by name: its lists of tensors are flat in a callback."""
    position = 0
    for argument in definition.input_arg:
        count: Optional[int] = None
        if argument.number_attr:
            count = int(attrs[argument.number_attr])
        elif argument.type_list_attr:
            count = len(attrs[argument.type_list_attr])
        if count is None:
            yield argument.name, tensors[position]
            position += 1
        else:
            yield argument.name, list(tensors[position : position + count])
            position += count
