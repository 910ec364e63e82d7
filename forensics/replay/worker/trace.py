"""One training step, op by op: who made the first bad value, and where it went.

Every op of the step is executed eagerly and passes through one callback. Tensors are known by
their `_id`, which is never used twice, unlike Python's `id()`. No tensor is kept alive: health is
decided while the op runs, operands are described only where a bad value is born.
"""

from __future__ import annotations

import re
from typing import Any, Dict, FrozenSet, List, Optional, Set, Tuple

import numpy as np

from . import arrays, frames
from .entry import brief
from .operands import Operands
from .state import METRIC, State

NONE: FrozenSet[int] = frozenset()
_MAX_SOURCES = 32
_RANDOM = re.compile(r"(Random|Stateful|Multinomial|ParameterizedTruncated|Dropout)")
_ASSIGN = re.compile(
    r"^(Assign\w*VariableOp|ResourceApply\w+|ResourceScatter\w+|ResourceSparseApply\w+)$"
)


class OpRecord:
    """Where a bad value is born: an op whose output is bad although its inputs are not."""

    __slots__ = (
        "bits", "dtype", "forward_index", "forward_op", "habit_inputs", "index", "inputs", "layer",
        "name", "op_type", "outputs", "phase", "rows", "shape", "slot", "source", "variable",
    )  # fmt: skip

    def __init__(self, index: int, op_type: str, name: str) -> None:
        self.index, self.op_type, self.name = index, op_type, name
        self.layer: Optional[str] = None
        self.phase = frames.FORWARD
        self.source: Optional[Dict[str, Any]] = None
        self.forward_op: Optional[str] = None
        self.forward_index: Optional[int] = None
        self.variable: Optional[str] = None
        self.inputs: List[Dict[str, Any]] = []
        self.outputs: List[Dict[str, Any]] = []
        self.slot, self.bits, self.dtype = 0, 0, ""
        self.shape: Tuple[int, ...] = ()
        self.rows: List[int] = []
        self.habit_inputs = False


class Harm:
    """A bad value that reached something training keeps."""

    __slots__ = ("chain_end", "sources", "target")

    def __init__(self, target: str, sources: FrozenSet[int], chain_end: int) -> None:
        self.target, self.sources, self.chain_end = target, sources, chain_end


class Trace:
    """Callback and result of one traced step.

    Parameters
    ----------
    state : State
        Tells which resource handle belongs to which variable.
    batch_size : int or None
        Rows of the batch, to name the rows of a bad output.
    habits : dict, optional
        Badness per op key at an earlier healthy step: values equally bad there are no news (mask
        constants, -inf scores).
    patch : dict, optional
        Op index -> make its bad output elements finite while the step runs (the counterfactual).
    capture : int
        Index of the op whose operands are kept in `captured`.
    """

    def __init__(
        self,
        state: State,
        batch_size: Optional[int] = None,
        habits: Optional[Dict[Any, int]] = None,
        patch: FrozenSet[int] = NONE,
        capture: int = -1,
    ) -> None:
        self.state, self.batch_size, self.patch = state, batch_size, patch
        self.capture, self.captured = capture, None  # type: int, Optional[Operands]
        self.known_habits = habits or {}
        self.habits: Dict[Any, int] = {}
        self.records: Dict[int, OpRecord] = {}
        self.harms: List[Harm] = []
        self.random_ops: Dict[str, int] = {}
        self.troubles: List[str] = []
        self.count = 0
        self.patched = 0
        self.activations: Dict[str, Any] = {}
        self.gradients: Dict[str, Any] = {}
        self._seen: Dict[Any, int] = {}
        self._sources: Dict[int, FrozenSet[int]] = {}
        self._bits: Dict[int, int] = {}
        self._habitual: Dict[int, int] = {}
        self._maker: Dict[int, int] = {}
        self._names: Dict[int, str] = {}
        self._parents: Dict[int, int] = {}
        self._output_of: Dict[int, int] = {}
        self._user_of: Dict[Tuple[str, int], int] = {}
        self._forward: Dict[int, Tuple[Optional[str], Optional[Dict[str, Any]], str]] = {}
        self._bad_variables: Set[int] = set()
        self._unseen: Set[int] = set()
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
                self.captured = Operands.seen(name, inputs, attrs, outputs, value_of)
            self._op(name, inputs, outputs)
        except Exception as error:
            # an error of the instrument must not look like one of the step
            trouble = "the trace could not look at %s: %s" % (name, brief(error))
            if trouble not in self.troubles:
                self.troubles.append(trouble)
        finally:
            self._busy = False

    def _op(self, op_type: str, inputs: Any, outputs: Any) -> None:
        index, self.count = self.count, self.count + 1
        path = frames.layer_path()
        phase = frames.phase_here(4)
        key = self._key(op_type, path, phase)
        if _RANDOM.search(op_type) and "Stateless" not in op_type:
            self.random_ops[op_type] = self.random_ops.get(op_type, 0) + 1
        sources, parent, habit = self._of_inputs(inputs)
        if phase in (frames.FORWARD, frames.LOSS):
            line = frames.user_line(4)
            self._forward[index] = (path or None, line, phase)
            for tensor in inputs or ():
                self._user_of[(op_type, getattr(tensor, "_id", -1))] = index
        if _ASSIGN.match(op_type):
            self._assign(index, op_type, path, phase, inputs, sources, parent)
            return
        for slot, tensor in enumerate(outputs or ()):
            ident = getattr(tensor, "_id", None)
            if ident is None:
                continue
            self._output_of[ident] = index
            array = value_of(tensor)
            if array is None:
                continue
            if path and phase == frames.FORWARD and arrays.is_float(array):
                self.activations[path] = array
            bits = arrays.badness(array)
            if not bits:
                continue
            self.habits[(key, slot)] = bits
            if index in self.patch and not sources:
                _make_finite(array)
                self.patched += 1
                continue
            if bits & ~self.known_habits.get((key, slot), 0) == 0 and not sources:
                self._habitual[ident] = bits
                continue
            self._bad_output(index, op_type, path, phase, inputs, outputs, slot, array, bits,
                             sources, parent, habit, ident)  # fmt: skip

    def _key(self, op_type: str, path: str, phase: str) -> Tuple[str, str, str, int]:
        """Names an op in a way that holds for another step of the same program."""
        stem = (op_type, path, phase)
        count = self._seen.get(stem, 0)
        self._seen[stem] = count + 1
        return (*stem, count)

    def _of_inputs(self, inputs: Any) -> Tuple[FrozenSet[int], int, bool]:
        """Births of the bad inputs, the op that handed over the first, whether a habit came in."""
        sources, parent, habit = NONE, -1, False
        for tensor in inputs or ():
            ident = getattr(tensor, "_id", None)
            if ident is None:
                continue
            own = self._sources.get(ident) or self._read_unseen(tensor, ident)
            if own:
                if parent < 0:
                    parent = self._maker.get(ident, -1)
                if len(sources) < _MAX_SOURCES:
                    sources = sources | own
            habit = habit or ident in self._habitual
        return sources, parent, habit

    def _read_unseen(self, tensor: Any, ident: int) -> FrozenSet[int]:
        """Births of a variable that an op was given directly.

        `tf.sqrt(variable)` reads it inside the runtime, without an op that a callback sees: the
        value that comes in is known by its equality with a variable that went bad.
        """
        if not self._bad_variables or ident in self._output_of or ident in self._unseen:
            return NONE
        self._unseen.add(ident)
        array = value_of(tensor)
        if array is None or not arrays.badness(array):
            return NONE
        for handle in self._bad_variables:
            variable = self.state.by_handle.get(handle)
            if variable is None or tuple(variable.resource.shape) != array.shape:
                continue
            if variable.read().tobytes() == array.tobytes():
                self._sources[ident] = self._sources[handle]
                self._maker[ident] = self._maker.get(handle, -1)
                return self._sources[ident]
        return NONE

    def _bad_output(self, index: int, op_type: str, path: str, phase: str, inputs: Any,
                    outputs: Any, slot: int, array: Any, bits: int, sources: FrozenSet[int],
                    parent: int,
                    habit: bool, ident: int) -> None:  # fmt: skip
        if index not in self._names:
            self._names[index] = (
                "%s_%d" % (op_type, index) if not path else "%s/%s_%d" % (path, op_type, index)
            )
        if not sources:
            record = self.records.get(index)
            if record is None:
                record = self._describe(
                    index, op_type, path, phase, inputs, outputs, slot, array, bits
                )
                record.habit_inputs = habit
                self.records[index] = record
            sources = frozenset((index,))
        else:
            self._parents.setdefault(index, parent)
        self._sources[ident] = sources
        self._bits[ident] = bits
        self._maker[ident] = index

    def _describe(self, index: int, op_type: str, path: str, phase: str, inputs: Any, outputs: Any,
                  slot: int, array: Any, bits: int) -> OpRecord:  # fmt: skip
        record = OpRecord(index, op_type, self._names.get(index, op_type))
        record.layer, record.phase = path or None, phase
        record.source = frames.user_line(5)
        record.slot, record.bits = slot, bits
        record.dtype, record.shape = array.dtype.name, tuple(array.shape)
        if self.batch_size:
            record.rows = arrays.bad_rows(array, self.batch_size)
        record.inputs = [
            arrays.statistics("input %d" % i, value)
            for i, value in enumerate(value_of(t) for t in inputs)
            if value is not None
        ]
        record.outputs = [
            arrays.statistics("output %d" % i, value)
            for i, value in enumerate(value_of(t) for t in outputs)
            if value is not None
        ]
        if phase == frames.BACKWARD:
            self._twin(record)
        elif phase == frames.OPTIMIZER:
            record.variable = frames.updated_variable(5)
            record.layer = frames.layer_of_variable(record.variable) if record.variable else None
            record.source = None
        elif phase == frames.LOSS:
            record.layer = None
        return record

    def _twin(self, record: OpRecord) -> None:
        """Map a backward op to the forward op it differentiates: layer and line are the twin's."""
        found = frames.forward_operands(6)
        if found is None:
            return
        record.forward_op, inputs, outputs = found
        # the tape lets go of what a gradient does not need: either side may be gone
        made = [self._output_of.get(getattr(t, "_id", -1)) for t in outputs]
        used = [self._user_of.get((record.forward_op, getattr(t, "_id", -1))) for t in inputs]
        for index in made + used:
            if index is not None and index in self._forward:
                record.forward_index = index
                path, line, phase = self._forward[index]
                record.layer = None if phase == frames.LOSS else path
                record.source = line or record.source
                return

    def _assign(self, index: int, op_type: str, path: str, phase: str, inputs: Any,
                sources: FrozenSet[int], parent: int) -> None:  # fmt: skip
        """Follow a value into a variable: harm when it is bad, unless the variable is a metric."""
        handle = getattr(inputs[0], "_id", None) if inputs else None
        variable = self.state.by_handle.get(handle) if handle is not None else None
        if handle is None:
            return
        if not sources and variable is not None and op_type != "AssignVariableOp":
            bits = arrays.badness(variable.read()) if variable.resource.dtype.is_floating else 0
            if bits and handle not in self._sources:
                sources = self._overflow(index, op_type, path, phase, inputs, variable, bits)
        if not sources:
            if op_type == "AssignVariableOp":
                self._sources.pop(handle, None)
                self._bad_variables.discard(handle)
            return
        self._sources[handle] = sources
        self._bad_variables.add(handle)
        self._maker[handle] = index
        self._names[index] = "%s(%s)" % (op_type, variable.name if variable else "variable")
        self._parents.setdefault(index, parent)
        if variable is None or variable.role != METRIC:
            self.harms.append(Harm(variable.name if variable else "a variable", sources, index))

    def _overflow(self, index: int, op_type: str, path: str, phase: str, inputs: Any,
                  variable: Any, bits: int) -> FrozenSet[int]:  # fmt: skip
        """Record an in-place update of finite operands that left its variable bad."""
        value = variable.read()
        record = OpRecord(index, op_type, op_type)
        record.layer, record.phase, record.bits = path or None, phase, bits
        record.dtype, record.shape = value.dtype.name, tuple(value.shape)
        record.inputs = [
            arrays.statistics("input", v) for v in map(value_of, inputs[1:]) if v is not None
        ]
        record.outputs = [arrays.statistics(variable.name, value)]
        record.variable = variable.name
        if phase == frames.OPTIMIZER:
            record.layer = frames.layer_of_variable(variable.name)
        else:
            record.phase, record.source = "state", frames.user_line(5)
        self.records[index] = record
        return frozenset((index,))

    # -- what the rest of the step reports
    def loss_target(self, tensors: Any, what: str) -> None:
        """Note a value that is differentiated or returned as the loss: harm when it is bad."""
        for tensor in _flatten(tensors):
            ident = getattr(tensor, "_id", None)
            sources = self._sources.get(ident, NONE) if ident is not None else NONE
            if sources:
                self.harms.append(Harm(what, sources, self._maker.get(ident, -1)))  # type: ignore[arg-type]

    def reached(self) -> FrozenSet[int]:
        """Birth places of every bad value that reached something training keeps."""
        return frozenset(source for harm in self.harms for source in harm.sources)

    def seed(self, tensors: Any, source: int) -> None:
        """Mark tensors as bad from the start (inputs, state), so that they are followed as well."""
        for tensor in _flatten(tensors):
            ident = getattr(tensor, "_id", None)
            if ident is not None:
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


def value_of(tensor: Any) -> Any:
    """Array of an eager tensor on the host, sharing its memory; None for resources and variants."""
    try:
        array = tensor._numpy()
    except Exception:
        return None
    return np.asarray(array) if not isinstance(array, np.ndarray) else array


def _make_finite(array: Any) -> None:
    """Replace bad elements in place: the tensor's own buffer, so that the tape sees it too."""
    mask = arrays.bad_mask(array)
    finite = arrays.widen(array)[~mask]
    array[mask] = np.median(finite) if finite.size else 0


def _flatten(value: Any) -> List[Any]:
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in _flatten(part)]
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in _flatten(part)]
    return [value]
