"""The op that failed, with its operands: found in the trace, in an error, in a variable."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional

from .. import arrays
from ..case.entry import brief
from ..stepping.randomness import PYTHON
from ..stepping.stepper import to_tensors
from ..tracing.records import CONSTANT
from .op_definition import NoCall, call_of, public_names
from .opcall import EAGER, GRAPH, JIT, OpCall, bits_of

if TYPE_CHECKING:
    from ..stepping.failure import Failure
    from ..tracing.records import Operands, OpRecord


class NoOperands(Exception):
    """There is no op to run again; the message says why.

    `users` tells whether the values came with what the program gave.
    """

    def __init__(self, why: str, users: bool = False) -> None:
        super().__init__(why)
        self.users = users


class FailingOp:
    """An op, the operands it failed on, and how it failed.

    Parameters
    ----------
    call : OpCall
        Runs it.
    values : list of array
        Its operands.
    slot, bits : int
        Which output is bad, and how (bits of `arrays.badness`).
    error : BaseException, optional
        What it raised instead of answering.
    mode : str
        How it is run: eagerly, unless only compiled it fails.
    """

    def __init__(
        self, call: OpCall, values: List[Any], slot: int, bits: int,
        error: Optional[BaseException] = None, mode: str = EAGER,
    ) -> None:  # fmt: skip
        self.call, self.values, self.slot, self.bits = call, values, slot, bits
        self.error, self.mode = error, mode
        self.outputs: List[Any] = []
        """What it answered during the step; empty when it raised."""
        self.why = ""
        """Why it is whose bug, once that was decided; it quotes no operand but one."""
        self.twin: Optional[FailingOp] = None
        """Of a backward op: the forward op that it differentiates."""

    def fails(self, values: List[Any]) -> bool:
        """Whether it fails the same way on other operands."""
        try:
            outputs = self.call.run(values, self.mode)
        except Exception as error:
            return self.error is not None and same_error(error, self.error)
        if self.error is not None:
            return False
        bits = bits_of(outputs, self.slot)
        return bits != 0 and bits & ~self.bits == 0

    def operands_bad(self) -> bool:
        """Whether any operand was bad itself (a mask constant)."""
        return any(arrays.badness(v) for v in self.values)


def failing_op(failure: Failure, mode: str) -> FailingOp:
    """Find the op behind a failure.

    Parameters
    ----------
    failure : Failure
        After the localiser was asked.
    mode : str
        The run's own: ``graph``, ``jit`` or ``eager``.

    Raises
    ------
    NoOperands
        With the reason.
    """
    _let_bad_values_pass()
    found = failure.found
    if found is None or found.localiser is None or found.origin is None:
        raise NoOperands("no op is known that made the failure")
    origin = found.origin
    if origin["phase"] == "input":
        raise NoOperands(
            "no op made them: they are in the batch (%s)" % origin["input"]["name"], users=True
        )
    if found.record is not None and found.record.op_type == CONSTANT:
        raise NoOperands("no op made them: they are in a constant of the program", users=True)
    if origin["phase"] == "state" and (found.record is None or found.record.is_read):
        raise NoOperands("no op made them: they were in the state before the step")
    _no_python(found.record.op_type if found.record is not None else origin["op_type"])
    if found.record is not None:
        return _born(failure, found.record)
    if found.operands is not None:
        return _told(failure, found.operands, origin["output_slot"] or 0)
    if origin["raised"] is not None:
        return _raised(failure, origin, mode)
    raise NoOperands(
        "the operands of %s are not known: it was not run op by op" % origin["op_type"]
    )


def _no_python(op_type: Optional[str]) -> None:
    if op_type in PYTHON:
        raise NoOperands(
            "%s calls a Python function of the program, which is not run again by itself: what it "
            "returns may hang on random numbers and on what Python objects hold" % op_type
        )


def _let_bad_values_pass() -> None:
    """Switch `enable_check_numerics` off, where the program has switched it on."""
    import tensorflow as tf

    with contextlib.suppress(Exception):
        tf.debugging.disable_check_numerics()


def _born(failure: Failure, record: OpRecord) -> FailingOp:
    op = _captured(failure, record.index)
    op.slot, op.bits = record.slot, record.bits
    if not op.call.in_place and not bits_of(op.outputs, record.slot):
        op = _in_any_mode(op, record.slot)
    if record.forward_index is not None:
        with contextlib.suppress(NoOperands):
            op.twin = _captured(failure, record.forward_index)
    return op


def _captured(failure: Failure, index: int) -> FailingOp:
    assert failure.found is not None and failure.found.localiser is not None
    operands = failure.found.localiser.operands(index)
    if operands is None:
        raise NoOperands("the op was not met when the step was traced again")
    return _of_operands(failure, operands)


def _of_operands(failure: Failure, operands: Operands) -> FailingOp:
    _no_python(operands.op_type)
    values, variables = list(operands.inputs), set()
    for place, handle in enumerate(operands.handles):
        if values[place] is None and handle in failure.before.values:
            # what the variable held before the step: this op is the first to change it
            values[place] = failure.before.values[handle]
            variables.add(place)
    try:
        call = call_of(operands.op_type, operands.attrs, values, variables)
    except NoCall as error:
        raise NoOperands(str(error)) from error
    op = FailingOp(call, values, 0, 0)
    op.outputs = list(operands.outputs)
    return op


def _told(failure: Failure, operands: Operands, slot: int) -> FailingOp:
    """Take the operands that another instrument tells."""
    op = _in_any_mode(_of_operands(failure, operands), slot)
    if op.mode == EAGER and len(operands.outputs) > slot and operands.outputs[slot] is not None:
        op.outputs = list(operands.outputs)
    return op


def _in_any_mode(op: FailingOp, slot: int) -> FailingOp:
    """Find the mode in which the op by itself is bad: eager first, then compiled."""
    for mode in (EAGER, GRAPH, JIT):
        try:
            outputs = op.call.run(op.values, mode)
        except Exception:
            continue
        bits = bits_of(outputs, slot)
        if bits:
            found = FailingOp(op.call, op.values, slot, bits, None, mode)
            found.outputs = outputs
            return found
    raise NoOperands("%s by itself stays finite on the operands of the step" % op.call.op_type)


# -- ops that raise
def _raised(failure: Failure, origin: Dict[str, Any], mode: str) -> FailingOp:
    """Read the operands from the frame in which the op was called: it never came to answer."""
    assert failure.found is not None and failure.found.localiser is not None
    localiser = failure.found.localiser
    localiser.state.load(failure.before)
    with _whole_tracebacks():
        error = localiser.stepper.eager(to_tensors(failure.batch)).error
    localiser.state.load(failure.before)
    if error is None:
        raise NoOperands("op by op the step raises nothing")
    if origin["op_type"] is None:
        raise NoOperands("the error names no op")
    call, values = _call_in(error, origin["op_type"], failure.before.values)
    op = FailingOp(call, values, 0, 0, error)
    if mode == JIT and failure.outcome.error is None:
        # compiled, it answers where it would refuse: that is what the run met
        with contextlib.suppress(Exception):
            outputs = call.run(values, JIT)
            for slot in range(len(outputs)):
                if bits_of(outputs, slot):
                    return FailingOp(call, values, slot, bits_of(outputs, slot), mode=JIT)
    return op


@contextlib.contextmanager
def _whole_tracebacks() -> Iterator[None]:
    """Let errors keep the frames of TensorFlow and Keras within the block."""
    import keras
    import tensorflow as tf

    switches = [tf.debugging]
    if hasattr(keras, "config") and hasattr(keras.config, "disable_traceback_filtering"):
        switches.append(keras.config)
    filtered = [s for s in switches if s.is_traceback_filtering_enabled()]
    for switch in filtered:
        switch.disable_traceback_filtering()
    try:
        yield
    finally:
        for switch in filtered:
            switch.enable_traceback_filtering()


def _call_in(error: BaseException, op_type: str, before: Dict[int, Any]) -> Any:
    """Find the generated wrapper that raised, and take its arguments from its frame."""
    step, frames = error.__traceback__, []
    while step is not None:
        if re.fullmatch(r"gen_\w+_ops\.py", Path(step.tb_frame.f_code.co_filename).name):
            frames.append(step.tb_frame)
        step = step.tb_next
    for frame in reversed(frames):
        with contextlib.suppress(LookupError, TypeError, ValueError, AttributeError, NoCall):
            return _call_from(op_type, frame.f_locals, before)
    raise NoOperands("%s raised, and its operands could not be read from the error" % op_type)


def _call_from(op_type: str, given: Dict[str, Any], before: Dict[int, Any]) -> Any:
    """Make a call of the arguments that a generated wrapper was called with."""
    import tensorflow as tf
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(op_type)
    public = public_names(tf, definition)
    values: List[Any] = []
    attrs: Dict[str, Any] = {}
    variables = set()
    for argument in definition.input_arg:
        value = given[public.get(argument.name, argument.name)]
        parts = value if argument.number_attr or argument.type_list_attr else [value]
        attrs[argument.number_attr] = len(parts)
        attrs[argument.type_list_attr] = [None] * len(parts)
        for part in parts:
            tensor = tf.convert_to_tensor(part)
            if tensor.dtype == tf.resource:
                variables.add(len(values))
            values.append(before[tensor._id] if tensor.dtype == tf.resource else tensor.numpy())
    for declared in definition.attr:
        name = public.get(declared.name, declared.name)
        if name in given and declared.name not in attrs:
            attrs[declared.name] = given[name]
    return call_of(op_type, attrs, values, variables), values


def same_error(one: BaseException, two: BaseException) -> bool:
    """Whether two errors say the same but for the numbers in them."""
    return type(one).__name__ == type(two).__name__ and gist(one) == gist(two)


def gist(error: BaseException) -> str:
    """Return what an error complains of, without numbers and without the name of the node."""
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", brief(error))
    text = re.sub(r"^\w+:\s*", "", text)
    text = re.sub(r"[-+]?\d[\d.e+-]*", "#", text)
    # a list of numbers is as long as the operands
    return re.sub(r"\s+", " ", re.sub(r"#([ ,]+#)+", "#", text))[:120].strip()
