"""One training step, op by op: who made the first bad value, and where it went.

Every op of the step is executed eagerly and passes through one callback. Tensors are known by
their `_id`, which is never used twice, unlike Python's `id()`. No tensor is kept alive: health is
decided while the op runs, operands are described only where a bad value is born (a second run
takes copies of them, see `Localiser.operands`), and of layers and gradients only numbers stay.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, FrozenSet, List, Optional, Set, Tuple

from .. import arrays
from ..case.entry import brief
from ..stepping.state import METRIC, State
from . import frames
from .births import describe, describe_overflow
from .memory import TooLarge, bound, resident
from .records import CONSTANT, NONE, Habits, Harm, Made
from .records import Operands as Operands
from .records import OpRecord as OpRecord
from .substitutes import Loops
from .tally import Tally
from .tensors import flatten, make_finite, operands_of
from .tensors import value_of as value_of
from .twins import Twins, recording

_MAX_SOURCES = 32
_RANDOM = re.compile(r"(Random|Stateful|Multinomial|ParameterizedTruncated|Dropout)")
_ASSIGN = re.compile(
    r"^(Assign\w*VariableOp|ResourceApply\w+|ResourceScatter\w+|ResourceSparseApply\w+)$"
)


class Flow:
    """What comes in through the inputs of an op: births of bad values, and usual ones."""

    __slots__ = ("habit", "habit_bits", "parent", "sources")

    def __init__(self) -> None:
        self.sources, self.habit = NONE, NONE
        self.habit_bits, self.parent = 0, -1


class Trace:
    """Callback and result of one traced step.

    Parameters
    ----------
    state : State
        Tells which resource handle belongs to which variable.
    batch_size : int or None
        Rows of the batch, to name the rows of a bad output.
    habits : Habits, optional
        What is bad at an earlier healthy step: values equally bad there are no news (mask
        constants, -inf scores).
    patch : set of int, optional
        Indices of ops whose bad output elements are made finite while the step runs (the
        counterfactual).
    capture : int
        Index of the op whose operands are kept in `captured`.
    """

    def __init__(
        self,
        state: State,
        batch_size: Optional[int] = None,
        habits: Optional[Habits] = None,
        patch: FrozenSet[int] = NONE,
        capture: int = -1,
    ) -> None:
        self.state, self.batch_size, self.patch = state, batch_size, patch
        self.capture, self.captured = capture, None  # type: int, Optional[Operands]
        self.known = habits or Habits()
        self.habits = Habits()
        self.records: Dict[int, OpRecord] = {}
        self.usual: Dict[int, OpRecord] = {}
        """Makers of values that are bad at a healthy step too, and of literal infinities."""
        self.harms: List[Harm] = []
        self.usual_harms: List[Harm] = []
        self.random_ops: Dict[str, int] = {}
        self.troubles: List[str] = []
        self.degradations: List[str] = []
        self.bound = bound()
        """Bytes that the process may grow to; beyond them the step is given up."""
        self.loops = Loops()
        self.count = 0
        self.patched = 0
        self.activations: Dict[str, Tally] = {}
        self.gradients: Dict[str, Tally] = {}
        self._seen: Dict[Any, int] = {}
        self._sources: Dict[int, FrozenSet[int]] = {}
        self._habitual: Dict[int, Tuple[FrozenSet[int], int]] = {}
        self._maker: Dict[int, int] = {}
        self._names: Dict[int, str] = {}
        self._parents: Dict[int, int] = {}
        self._slopes: Set[int] = set()
        self._inside = NONE
        self._pending: Optional[Tuple[str, Any]] = None
        self.twins = Twins()
        self._busy = False

    # -- the callback
    def __call__(
        self,
        op_type: Any,
        inputs: Any,
        attrs: Any,
        outputs: Any,
        op_name: Any = None,
        graph: Any = None,
    ) -> None:
        """Look at one op; called by TensorFlow right after it ran."""
        if graph is not None or self._busy:
            return
        self._busy = True
        name = op_type.decode() if isinstance(op_type, bytes) else str(op_type)
        try:
            if self.count == self.capture:
                self.captured = operands_of(name, inputs, attrs, outputs)
            if self.bound is not None and self.count % 32 == 0 and resident() > self.bound:
                raise TooLarge("the traced step outgrows the memory at op %d" % self.count)
            self._op(name, inputs or (), outputs or ())
        except TooLarge:
            raise
        except Exception as error:
            # an error of the instrument must not look like one of the step
            trouble = "the trace could not look at %s: %s" % (name, brief(error))
            if trouble not in self.troubles:
                self.troubles.append(trouble)
        finally:
            self._busy = False

    def _op(self, op_type: str, inputs: Any, outputs: Any) -> None:
        index, self.count = self.count, self.count + 1
        path, place = frames.layer_path(), frames.here(4)
        self._phase_by_flow(place, inputs, outputs)
        if _RANDOM.search(op_type) and "Stateless" not in op_type:
            self.random_ops[op_type] = self.random_ops.get(op_type, 0) + 1
        flow = self._of_inputs(inputs)
        self.twins.see(index, op_type, path, place, self.loops.described(), inputs)
        key = self._key(op_type, path, place.phase)
        if _ASSIGN.match(op_type):
            self._assign(index, op_type, path, place, inputs, flow)
            return
        for slot, tensor in enumerate(outputs):
            ident = getattr(tensor, "_id", None)
            if ident is None:
                continue
            self.twins.output_of[ident] = index
            array = value_of(tensor)
            if array is None or not arrays.is_float(array):
                continue
            if path and place.phase == frames.FORWARD:
                self._activation(path, array)
            bits = arrays.badness(array)
            if bits:
                self.habits.bits[(key, slot)] = bits
                flow = self._explained(flow, path, place, inputs)
                made = Made(index, op_type, path, place, inputs, outputs, slot, array, bits)
                self._bad_output(made, ident, key, flow)

    def _key(self, op_type: str, path: str, phase: str) -> Tuple[str, str, str, int]:
        """Names an op in a way that holds for another step of the same program."""
        stem = (op_type, path, phase)
        count = self._seen.get(stem, 0)
        self._seen[stem] = count + 1
        return (*stem, count)

    def _phase_by_flow(self, place: frames.Place, inputs: Any, outputs: Any) -> None:
        """Note what depends on gradients: outside of every tape it is an update by hand."""
        slopes = self._slopes
        if place.phase != frames.BACKWARD:
            if not any(getattr(t, "_id", None) in slopes for t in inputs):
                return
            if place.phase == frames.FORWARD and not recording():
                place.phase = frames.OPTIMIZER
        slopes.update(t._id for t in outputs if hasattr(t, "_id"))

    def _of_inputs(self, inputs: Any) -> Flow:
        flow = Flow()
        for tensor in inputs:
            ident = getattr(tensor, "_id", None)
            if ident is None:
                continue
            own = self._sources.get(ident)
            if own:
                if flow.parent < 0:
                    flow.parent = self._maker.get(ident, -1)
                if len(flow.sources) < _MAX_SOURCES:
                    flow.sources = flow.sources | own
            usual = self._habitual.get(ident)
            if usual:
                flow.habit, flow.habit_bits = flow.habit | usual[0], flow.habit_bits | usual[1]
        return flow

    def _explained(self, flow: Flow, path: str, place: frames.Place, inputs: Any) -> Flow:
        """Where nothing bad is known to come in, look for values from outside the step."""
        if flow.sources or flow.habit:
            return flow
        for tensor in inputs:
            ident = getattr(tensor, "_id", None)
            array = value_of(tensor) if ident is not None else None
            bits = arrays.badness(array) if array is not None else 0
            if ident is None or not bits:
                continue
            variable = self.state.holder(array)
            if variable is not None:
                self._read(variable, path, place, tensor, bits, flow)
                continue
            index, self.count = self.count, self.count + 1
            key = self._key(CONSTANT, path, place.phase)
            self.habits.bits[(key, 0)] = bits
            made = Made(index, CONSTANT, path, place, (), (tensor,), 0, array, bits)
            if bits & arrays.NAN and bits & ~self.known.bits.get((key, 0), 0):
                self._birth(made, ident, flow)
            else:
                # an infinity that is written down is meant: a mask, an initial maximum
                self._usual_maker(made, ident)
        return self._of_inputs(inputs)

    def _read(self, variable: Any, path: str, place: frames.Place, tensor: Any, bits: int,
              flow: Flow) -> None:  # fmt: skip
        """Follow a variable that was read without an op (as an operand, in eager mode)."""
        index, self.count = self.count, self.count + 1
        key = self._key("ReadVariableOp", path, place.phase)
        self.habits.bits[(key, 0)] = bits
        handle, ident = variable.resource.handle, tensor._id
        made = Made(index, "ReadVariableOp", path, place, (handle,), (tensor,), 0,
                    value_of(tensor), bits)  # fmt: skip
        own = self._sources.get(variable.key)
        if own:
            self._name(made)
            self._parents.setdefault(index, self._maker.get(variable.key, -1))
            self._sources[ident], self._maker[ident] = own, index
        elif bits & ~self.known.bits.get((key, 0), 0):
            self._birth(made, ident, flow)
        else:
            self._usual_maker(made, ident)

    def entering(self) -> Callable[[], None]:
        """Note that a Python function is called by an op: what is born in it, the op hands on."""
        begin = self.count

        def leaving() -> None:
            self._inside = frozenset(i for i in self.records if i >= begin)

        return leaving

    def _bad_output(self, made: Made, ident: int, key: Any, flow: Flow) -> None:
        if made.op_type == "EagerPyFunc" and not flow.sources:
            flow.sources, flow.parent = self._inside, max(self._inside, default=-1)
        if flow.sources:
            self._name(made)
            self._parents.setdefault(made.index, flow.parent)
            self._sources[ident], self._maker[ident] = flow.sources, made.index
            return
        if made.index in self.patch:
            self.patched += make_finite(made.outputs[made.slot], made.array)
        elif flow.habit and not (made.bits & arrays.NAN) > (flow.habit_bits & arrays.NAN):
            self._habitual[ident] = (flow.habit, made.bits)
        elif made.bits & ~self.known.bits.get((key, made.slot), 0) == 0:
            if flow.habit:
                self._habitual[ident] = (flow.habit, made.bits)
            else:
                self._usual_maker(made, ident)
        else:
            self._birth(made, ident, flow)

    def _birth(self, made: Made, ident: int, flow: Flow) -> None:
        self._name(made)
        if made.index not in self.records:
            record = describe(self, made, 6)
            record.habit_inputs = bool(flow.habit)
            self.records[made.index] = record
        self._sources[ident], self._maker[ident] = frozenset((made.index,)), made.index

    def _usual_maker(self, made: Made, ident: int) -> None:
        self._name(made)
        if made.index not in self.usual:
            self.usual[made.index] = describe(self, made, 6)
        self._habitual[ident] = (frozenset((made.index,)), made.bits)

    def _name(self, made: Made) -> None:
        self._names.setdefault(made.index, made.name)

    def _activation(self, path: str, array: Any) -> None:
        """Count the last output of a layer: the one before an op of another layer runs."""
        if self._pending is not None and self._pending[0] != path:
            self.close()
        self._pending = (path, array)

    def close(self) -> None:
        """Count the output that is still held."""
        if self._pending is not None and self._pending[1].dtype.kind != "c":
            self.activations[self._pending[0]] = Tally(self._pending[1])
        self._pending = None

    def _assign(self, index: int, op_type: str, path: str, place: frames.Place, inputs: Any,
                flow: Flow) -> None:  # fmt: skip
        """Follow a value into a variable: harm when it is bad, unless the variable is a metric."""
        handle = getattr(inputs[0], "_id", None) if inputs else None
        if handle is None:
            return
        variable = self.state.by_handle.get(handle)
        plain = op_type == "AssignVariableOp"
        if plain and not flow.sources and not flow.habit:
            flow = self._explained(flow, path, place, inputs[1:])
        sources = flow.sources
        if not sources and variable is not None and not plain:
            bits = arrays.badness(variable.read()) if variable.resource.dtype.is_floating else 0
            if bits and handle not in self._sources and not flow.habit:
                self.records[index] = describe_overflow(
                    self, index, op_type, path, place, inputs, variable, bits
                )
                sources = frozenset((index,))
        if plain and not sources:
            self._sources.pop(handle, None)
            self._habitual.pop(handle, None)
        if flow.habit and not sources:
            # what reads the variable later in the step gets the usual value, and bears no new one
            self._habitual[handle] = (flow.habit, flow.habit_bits)
        if not sources and not flow.habit:
            return
        name = variable.name if variable else "a variable"
        self._names[index] = "%s(%s)" % (op_type, name)
        if sources:
            self._sources[handle], self._maker[handle] = sources, index
            self._parents.setdefault(index, flow.parent)
        if variable is None or variable.role != METRIC:
            self._harm(name, sources, flow.habit, index)

    # -- what the rest of the step reports
    def loss_target(self, tensors: Any, what: str) -> None:
        """Note a value that is differentiated or returned as the loss: harm when it is bad."""
        for tensor in flatten(tensors):
            ident = getattr(tensor, "_id", None)
            if ident is None:
                continue
            sources = self._sources.get(ident, NONE)
            habit = self._habitual.get(ident, (NONE, 0))[0]
            if sources or habit:
                self._harm(what, sources, habit, self._maker.get(ident, -1))

    def _harm(self, target: str, sources: FrozenSet[int], habit: FrozenSet[int], end: int) -> None:
        self.habits.targets.add(target)
        if sources:
            self.harms.append(Harm(target, sources, end))
        elif target not in self.known.targets:
            self.usual_harms.append(Harm(target, habit, end))

    def gradient(self, variable: Any, gradient: Any) -> None:
        """Count the gradient of a variable; the last one counts: loss scaling is undone then."""
        value = value_of(getattr(gradient, "values", gradient))
        handle = getattr(getattr(variable, "_value", variable), "handle", None)
        known = self.state.by_handle.get(getattr(handle, "_id", -1))
        if value is not None and arrays.is_float(value) and value.dtype.kind != "c":
            name = known.name if known else getattr(variable, "path", None) or str(variable.name)
            self.gradients[name] = Tally(value)

    def reached(self) -> FrozenSet[int]:
        """Birth places of every bad value that reached something training keeps."""
        return frozenset(source for harm in self.harms for source in harm.sources)

    def usual_reached(self) -> FrozenSet[int]:
        """Makers of usual values that reached what they do not reach at a healthy step."""
        return frozenset(source for harm in self.usual_harms for source in harm.sources)

    def seed(self, tensors: Any, source: int, usual: bool = False) -> None:
        """Mark tensors as bad from the start (inputs, state), so that they are followed as well."""
        for tensor in flatten(tensors):
            ident = getattr(tensor, "_id", None)
            array = value_of(tensor) if ident is not None else None
            if ident is None or array is None:
                continue
            bits = arrays.badness(array)
            if usual and bits:
                self._habitual[ident] = (frozenset((source,)), bits)
            elif not usual:
                self._sources[ident] = frozenset((source,))

    def chain(self, harm: Harm, limit: int = 40) -> List[str]:
        """Op names from the birth place to the harm."""
        names: List[str] = []
        index = harm.chain_end
        while index >= 0 and len(names) < 4 * limit:
            names.append(self._names.get(index, "op_%d" % index))
            index = self._parents.get(index, -1)
        names.reverse()
        if len(names) > limit:
            names = [*names[: limit // 2], "...", *names[-limit // 2 :]]
        return names
