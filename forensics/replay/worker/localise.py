"""The first harmful bad value of a failing step: origin, other origins, benign ones, chain."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, FrozenSet, List, Optional, Tuple

from . import arrays, frames
from .entry import brief
from .listening import listening
from .state import Snapshot
from .stepper import Outcome, Stepper, to_tensors
from .trace import NONE, Harm, OpRecord, Trace

INPUT = -2
"""Source index of values that were bad in the batch already."""
_MAX_COUNTERFACTUALS = 4
_RAISED_OP = re.compile(r"\[Op:(\w+)\]")
_RAISED_NODE = re.compile(
    r"\{\{(?:function_)?node (?:__wrapped__)?([\w/.]+?)(?:_device_[^}]*)?\}\}"
)


class Localised:
    """What the trace of the failing step says, in the fields of the report."""

    def __init__(self) -> None:
        self.origin: Optional[Dict[str, Any]] = None
        self.others: List[Dict[str, Any]] = []
        self.benign: List[Dict[str, Any]] = []
        self.chain: List[str] = []
        self.rows: List[int] = []
        self.eager_outcome: Optional[Outcome] = None
        self.trace: Optional[Trace] = None


class Localiser:
    """Traces a step from a snapshot, as often as the question needs it."""

    def __init__(self, stepper: Stepper, progress: Callable[[str], None]) -> None:
        self.stepper, self.state, self.progress = stepper, stepper.state, progress

    def run(
        self, before: Snapshot, step: int, batch: Any, healthy: Optional[Tuple[Snapshot, Any]]
    ) -> Localised:
        """Trace the failing step.

        Parameters
        ----------
        before : dict
            Values of all variables before the step.
        step : int
            0-based step, for messages.
        batch : object
            Its batch.
        healthy : (snapshot, batch) or None
            An earlier step that went well: bad values that it shows too are habits, not news.
        """
        found = Localised()
        habits: Dict[Any, int] = {}
        if healthy is not None:
            self.progress("tracing a healthy step for comparison")
            habits = self._trace(healthy[0], healthy[1])[0].habits
        self.progress("tracing step %d op by op" % step)
        bad_parts = self._bad_parts(batch, healthy[1] if healthy is not None else None)
        trace, outcome = self._trace(before, batch, habits, seeds=bad_parts)
        found.trace, found.eager_outcome = trace, outcome
        if outcome.error is not None:
            self._raised(found, outcome.error)
            return found
        harmful = frozenset().union(*(h.sources for h in trace.harms)) if trace.harms else NONE
        harmful, benign = self._counterfactuals(before, batch, habits, trace, harmful, bad_parts)
        found.benign = benign
        self._input_origin(found, before, batch, habits, harmful, bad_parts)
        ordered = [trace.records[i] for i in sorted(harmful) if i in trace.records]
        independent = [
            r for r in ordered if r.forward_index is None or r.forward_index not in harmful
        ]
        if found.origin is None and len(independent) > 1:
            alive = self._without(before, batch, habits, independent[0].index, bad_parts)
            independent = [independent[0], *(r for r in independent[1:] if r.index in alive)]
        origins = [origin_of(r) for r in independent]
        if found.origin is None and origins:
            found.origin, found.others = origins[0], origins[1:6]
            found.rows = independent[0].rows
            found.chain = self._chain(trace, independent[0].index)
        else:
            found.others = origins[:5]
            if found.origin is not None:
                found.chain = self._chain(trace, INPUT)
        return found

    # -- tracing
    def _trace(
        self, before: Snapshot, batch: Any, habits: Optional[Dict[Any, int]] = None,
        patch: FrozenSet[int] = NONE, seeds: Tuple[str, ...] = (),
    ) -> Tuple[Trace, Outcome]:  # fmt: skip
        self.state.load(before)
        bad_before = self.state.bad()
        for as_tensors in (True, False):
            data = to_tensors(batch) if as_tensors else batch
            trace = Trace(self.state, batch_rows(batch), habits, patch)
            for name, tensor in tensor_leaves(data):
                if name in seeds:
                    trace.seed(tensor, INPUT)
            with listening(trace):
                outcome = self.stepper.eager(data, tensors=False)
            # a step written for numpy batches raises on tensors: run it with what the case gives
            if outcome.error is None or not isinstance(outcome.error, (AttributeError, TypeError)):
                break
            self.state.load(before)
        self.stepper.judge(outcome, bad_before)
        self.state.load(before)
        return trace, outcome

    # -- harm
    def _counterfactuals(
        self, before: Snapshot, batch: Any, habits: Dict[Any, int], trace: Trace,
        harmful: FrozenSet[int], seeds: Tuple[str, ...],
    ) -> Tuple[FrozenSet[int], List[Dict[str, Any]]]:  # fmt: skip
        """Ask of each bad value not seen to do harm whether the failure vanishes without it.

        Values are laundered (`max_pool(NaN)` is finite, sigmoid makes an Inf finite), so following
        them is not enough. Only births before the first known harm can be its hidden cause.
        """
        first = min((i for i in harmful if i >= 0), default=None)
        suspects = [
            r for i, r in sorted(trace.records.items())
            if i not in harmful and (first is None or i < first)
        ]  # fmt: skip
        hidden = []
        for record in suspects[:_MAX_COUNTERFACTUALS]:
            if record.phase == frames.METRIC:
                continue
            patched, outcome = self._trace(
                before, batch, habits, patch=frozenset((record.index,)), seeds=seeds
            )
            if patched.patched and outcome.symptom is None:
                hidden.append(record.index)
        harmful = harmful | frozenset(hidden)
        benign = [
            {"op_type": r.op_type, "op_name": r.name, "reason": self._why_benign(r)}
            for i, r in sorted(trace.records.items())
            if i not in harmful
        ]
        return harmful, benign[:20]

    def _without(
        self,
        before: Snapshot,
        batch: Any,
        habits: Dict[Any, int],
        index: int,
        seeds: Tuple[str, ...],
    ) -> FrozenSet[int]:
        """Births that happen without the first one too: the others were its consequences."""
        patched, _ = self._trace(before, batch, habits, patch=frozenset((index,)), seeds=seeds)
        return frozenset(patched.records) if patched.patched else NONE

    @staticmethod
    def _why_benign(record: OpRecord) -> str:
        if record.phase == frames.METRIC:
            return "it reaches a metric only"
        if record.phase == frames.OPTIMIZER:
            return "no variable takes the value (a skipped or masked update)"
        return "neither the loss nor a variable takes the value (masked or cut off)"

    def _chain(self, trace: Trace, source: int) -> List[str]:
        harms = [h for h in trace.harms if source in h.sources]
        if not harms:
            return []
        best: Harm = min(
            harms, key=lambda h: (not h.target.startswith("the differentiated"), h.chain_end)
        )
        return [*trace.chain(best), best.target]

    # -- the batch
    @staticmethod
    def _bad_parts(batch: Any, healthy_batch: Any) -> Tuple[str, ...]:
        """Parts of the batch that hold non-finite values which a healthy batch does not hold."""
        usual = {n: arrays.badness(a) for n, a in arrays.leaves(healthy_batch)}
        return tuple(
            name
            for name, array in arrays.leaves(batch)
            if arrays.badness(array) & ~usual.get(name, 0)
        )

    def _input_origin(
        self, found: Localised, before: Snapshot, batch: Any, habits: Dict[Any, int],
        harmful: FrozenSet[int], bad_parts: Tuple[str, ...],
    ) -> None:  # fmt: skip
        if not bad_parts:
            return
        cleaned = replace_bad(batch)
        _, outcome = self._trace(before, cleaned, habits)
        if INPUT not in harmful and outcome.symptom is not None:
            found.benign.extend(
                {"op_type": "input", "op_name": n, "reason": "the step fails without it as well"}
                for n in bad_parts
            )
            return
        values = dict(arrays.leaves(batch))
        parts = []
        for name in bad_parts:
            array = values[name]
            rows = arrays.bad_rows(array, batch_rows(batch) or -1)
            parts.append(_input(name, array, rows))
        found.origin, found.others = parts[0], parts[1:]
        found.rows = sorted({row for part in parts for row in part["input"]["rows"]})

    # -- ops that raise
    def _raised(self, found: Localised, error: BaseException) -> None:
        text = str(error)
        op = _RAISED_OP.search(text)
        node = _RAISED_NODE.search(text)
        name = op.group(1) if op else node.group(1).split("/")[-1] if node else None
        if name is None:
            return
        line, phase = _where_raised(error)
        found.origin = {
            "op_type": name, "op_name": node.group(1) if node else name, "output_slot": None,
            "dtype": None, "shape": None, "layer": None, "phase": phase, "input": None,
            "raised": brief(error)[:500], "source": line, "forward_op_type": None,
            "inputs": [], "outputs": [],
        }  # fmt: skip


def origin_of(record: OpRecord) -> Dict[str, Any]:
    """Fields of the report's origin for one birth place."""
    phase = record.phase
    if record.op_type in ("ReadVariableOp", "ResourceGather"):
        phase = "state"
    return {
        "op_type": record.op_type, "op_name": record.name, "output_slot": record.slot,
        "dtype": record.dtype, "shape": list(record.shape), "layer": record.layer, "phase": phase,
        "input": None, "raised": None, "source": record.source,
        "forward_op_type": record.forward_op, "inputs": record.inputs, "outputs": record.outputs,
    }  # fmt: skip


def _input(name: str, array: Any, rows: List[int]) -> Dict[str, Any]:
    return {
        "op_type": None, "op_name": None, "output_slot": None, "dtype": array.dtype.name,
        "shape": list(array.shape), "layer": None, "phase": "input",
        "input": {"name": name, "rows": rows}, "raised": None, "source": None,
        "forward_op_type": None, "inputs": [], "outputs": [arrays.statistics(name, array)],
    }  # fmt: skip


def batch_rows(batch: Any) -> Optional[int]:
    """Rows of a batch: the leading dimension that most parts share (the first part's on a tie)."""
    sizes = [a.shape[0] for _, a in arrays.leaves(batch) if a.ndim]
    return max(sizes, key=lambda n: (sizes.count(n), -sizes.index(n))) if sizes else None


def tensor_leaves(value: Any, name: str = "") -> List[Tuple[str, Any]]:
    """Like `arrays.leaves`, but the tensors themselves."""
    if isinstance(value, dict):
        return [
            leaf
            for key, part in value.items()
            for leaf in tensor_leaves(part, name + "/" + str(key) if name else str(key))
        ]
    if isinstance(value, (list, tuple)):
        names = ("x", "y", "sample_weight") if not name and len(value) <= 3 else None
        out = []
        for index, part in enumerate(value):
            own = names[index] if names else (name + "/" if name else "") + str(index)
            out.extend(tensor_leaves(part, own))
        return out
    return [(name or "x", value)] if value is not None else []


def replace_bad(value: Any) -> Any:
    """Put zeros in place of the non-finite values of a batch."""
    import numpy as np

    if isinstance(value, dict):
        return {k: replace_bad(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(replace_bad(v) for v in value)
    if value is None:
        return None
    array = np.array(value)
    if arrays.is_float(array):
        array[arrays.bad_mask(array)] = 0
    return array


def _where_raised(error: BaseException) -> Tuple[Optional[Dict[str, Any]], str]:
    """User's line and phase from the traceback of an error."""
    line, phase, rank = None, frames.FORWARD, 0
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        found = frames.phase_of(code)
        if frames.RANK[found] > rank:
            phase, rank = found, frames.RANK[found]
        if frames.is_user_file(code.co_filename):
            line = frames.described_line(code, step.tb_lineno)
        step = step.tb_next
    return line, phase
