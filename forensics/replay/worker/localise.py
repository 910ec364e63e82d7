"""The first harmful bad value of a failing step: origin, other origins, benign ones, chain."""

from __future__ import annotations

import re
from typing import Any, Dict, FrozenSet, List, Optional, Tuple

import numpy as np

from . import arrays, frames, keras_api
from .entry import brief
from .layers import layer_of_scope
from .listening import listening
from .operands import Operands
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

    def __init__(self, trace: Trace, outcome: Outcome) -> None:
        self.trace, self.eager_outcome = trace, outcome
        self.origin: Optional[Dict[str, Any]] = None
        self.others: List[Dict[str, Any]] = []
        self.benign: List[Dict[str, Any]] = []
        self.chain: List[str] = []
        self.rows: List[int] = []
        self.record: Optional[OpRecord] = None
        """The origin as the trace saw it; None for an input or an op that raised."""
        self.operands: Optional[Operands] = None
        """Of an origin that another instrument named, where it tells."""
        self.localiser: Optional[Localiser] = None


class Localiser:
    """Traces a step from a snapshot, as often as the question needs it.

    Parameters
    ----------
    stepper : Stepper
        Runs the step.
    before : Snapshot
        Values of all variables before the step.
    batch : object
        Its batch.
    healthy : (Snapshot, batch) or None
        An earlier step that went well: bad values that it shows too are habits, not news.
    """

    def __init__(
        self, stepper: Stepper, before: Snapshot, batch: Any,
        healthy: Optional[Tuple[Snapshot, Any]],
    ) -> None:  # fmt: skip
        self.stepper, self.state = stepper, stepper.state
        self.before, self.batch, self.healthy = before, batch, healthy
        self.habits: Dict[Any, int] = {}
        self.raised = False
        self.bad_parts = _bad_parts(batch, healthy[1] if healthy is not None else None)

    def run(self, failed: Outcome) -> Localised:
        """Trace the failing step; `failed` is its outcome in the run's own mode."""
        if self.healthy is not None:
            self.habits = self.trace(*self.healthy)[0].habits
        trace, outcome = self._failing()
        found = Localised(trace, outcome)
        found.localiser = self
        if outcome.error is not None and failed.error is None:
            # XLA answers NaN where an op refuses its operands; any other error shows a step that
            # does not work op by op, and is not what the run met
            found.origin = self._raised(outcome.error)
            return found
        if outcome.symptom is None and failed.error is not None:
            found.origin = self._raised(failed.error)
            return found
        # what raised an error need not be reached by a value: ask for the cause of the error
        self.raised = outcome.error is not None
        followed = NONE if self.raised else trace.reached()
        harmful, found.benign = self._counterfactuals(trace, followed)
        self._input_origin(found, harmful)
        self._birth_origins(found, harmful)
        if outcome.error is not None and failed.error is not None and found.origin is None:
            found.origin = self._raised(outcome.error) or self._raised(failed.error)
        elif outcome.error is not None and found.origin is not None:
            found.origin["raised"] = brief(outcome.error)[:500]
        return found

    def _birth_origins(self, found: Localised, harmful: FrozenSet[int]) -> None:
        trace = found.trace
        ordered = [trace.records[i] for i in sorted(harmful) if i in trace.records]
        independent = [
            r for r in ordered if r.forward_index is None or r.forward_index not in harmful
        ]
        if found.origin is None and len(independent) > 1:
            # births that happen without the first one too: the others were its consequences
            patched, _ = self._failing(patch=frozenset((independent[0].index,)))
            alive = frozenset(patched.records) if patched.patched else NONE
            independent = [independent[0], *(r for r in independent[1:] if r.index in alive)]
        origins = [origin_of(r) for r in independent]
        if found.origin is not None:
            found.others = (found.others + origins)[:5]
            found.chain = self._chain(trace, INPUT)
        elif origins:
            found.origin, found.others = origins[0], origins[1:6]
            found.record = independent[0]
            found.rows = independent[0].rows
            found.chain = self._chain(trace, independent[0].index)

    def operands(self, index: int) -> Optional[Operands]:
        """Run the failing step once more and keep what the op at `index` was given and answered."""
        self.state.load(self.before)
        data = to_tensors(self.batch)
        trace = Trace(self.state, batch_rows(data), self.habits, capture=index)
        with listening(trace):
            self.stepper.eager(data)
        self.state.load(self.before)
        return trace.captured

    # -- tracing
    def _failing(self, patch: FrozenSet[int] = NONE, batch: Any = None) -> Tuple[Trace, Outcome]:
        """Trace the failing step, perhaps with values patched or with another batch."""
        seeds = self.bad_parts if batch is None else ()
        return self.trace(self.before, self.batch if batch is None else batch, patch, seeds)

    def trace(
        self, before: Snapshot, batch: Any, patch: FrozenSet[int] = NONE,
        seeds: Tuple[str, ...] = (),
    ) -> Tuple[Trace, Outcome]:  # fmt: skip
        """Run a step op by op from a state, which is put back."""
        from tensorflow.errors import OpError

        trace, outcome = self._once(before, to_tensors(batch), patch, seeds)
        if outcome.error is None or isinstance(outcome.error, OpError):
            return trace, outcome
        # a step written for numpy batches raises on tensors: run it with what the case gives
        plain_trace, plain = self._once(before, batch, patch, seeds)
        if type(plain.error) is type(outcome.error):
            return trace, outcome
        return plain_trace, plain

    def _once(
        self, before: Snapshot, data: Any, patch: FrozenSet[int], seeds: Tuple[str, ...]
    ) -> Tuple[Trace, Outcome]:
        self.state.load(before)
        trace = Trace(self.state, batch_rows(data), self.habits, patch)
        for name, part in arrays.named_parts(data):
            if name in seeds:
                trace.seed(part, INPUT)
        with listening(trace):
            outcome = self.stepper.eager(data)
        self.stepper.judge(outcome, self.state.bad(before))
        self.state.load(before)
        return trace, outcome

    # -- harm
    def _counterfactuals(
        self, trace: Trace, harmful: FrozenSet[int]
    ) -> Tuple[FrozenSet[int], List[Dict[str, Any]]]:
        """Ask of each bad value not seen to do harm whether the failure vanishes without it.

        Values are laundered (`max_pool(NaN)` is finite, sigmoid makes an Inf finite), so following
        them is not enough. Only births before the first known harm can be its hidden cause.
        """
        first = min((i for i in harmful if i >= 0), default=None)
        suspects = [
            i for i, r in sorted(trace.records.items())
            if i not in harmful and (first is None or i < first) and r.phase != frames.METRIC
        ][:_MAX_COUNTERFACTUALS]  # fmt: skip
        hidden = frozenset(i for i in suspects if self._cures(frozenset((i,))))
        if not hidden and not harmful and len(suspects) > 1 and self._cures(frozenset(suspects)):
            # several at once, each of which is enough
            hidden = frozenset(suspects)
        harmful = harmful | hidden
        benign = [
            {"op_type": r.op_type, "op_name": r.name, "reason": self._why_benign(r)}
            for i, r in sorted(trace.records.items())
            if i not in harmful
        ]
        return harmful, benign[:20]

    def _cures(self, births: FrozenSet[int]) -> bool:
        patched, outcome = self._failing(patch=births)
        cured = outcome.error is None if self.raised else outcome.symptom is None
        return patched.patched > 0 and cured

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
    def _input_origin(self, found: Localised, harmful: FrozenSet[int]) -> None:
        if not self.bad_parts:
            return
        _, outcome = self._failing(batch=replace_bad(self.batch))
        if INPUT not in harmful and outcome.symptom is not None:
            found.benign.extend(
                {"op_type": "input", "op_name": n, "reason": "the step fails without it as well"}
                for n in self.bad_parts
            )
            return
        values = dict(arrays.leaves(self.batch))
        rows = batch_rows(self.batch) or -1
        parts = [
            _input(name, values[name], arrays.bad_rows(values[name], rows))
            for name in self.bad_parts
        ]
        found.origin, found.others = parts[0], parts[1:]
        found.rows = sorted({row for part in parts for row in part["input"]["rows"]})

    # -- ops that raise
    def _raised(self, error: BaseException) -> Optional[Dict[str, Any]]:
        """Fields of the report's origin for an op that raised; None when the error names no op."""
        text = str(error)
        op, node = _RAISED_OP.search(text), _RAISED_NODE.search(text)
        path = node.group(1).split("/") if node else [op.group(1)] if op else [""]
        if not path[-1] or path[-1].startswith("__inference"):
            return None
        line, phase, layer = _where_raised(error)
        layer = layer or layer_of_scope(self.stepper.case, path[:-1])
        return {
            "op_type": re.sub(r"_\d+$", "", path[-1]), "op_name": "/".join(path),
            "output_slot": None, "dtype": None, "shape": None, "layer": layer, "phase": phase,
            "input": None,
            "raised": brief(error)[:500], "source": line, "forward_op_type": None,
            "inputs": [], "outputs": [],
        }  # fmt: skip


def _bad_parts(batch: Any, healthy_batch: Any) -> Tuple[str, ...]:
    """Parts of the batch that hold non-finite values which a healthy batch does not hold."""
    usual = {n: arrays.badness(a) for n, a in arrays.leaves(healthy_batch)}
    return tuple(
        name for name, array in arrays.leaves(batch) if arrays.badness(array) & ~usual.get(name, 0)
    )


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


def replace_bad(value: Any) -> Any:
    """Put zeros in place of the non-finite values of a batch."""

    def repair(part: Any) -> Any:
        try:
            array = np.array(part)
        except Exception:
            return part
        if not arrays.badness(array):
            return part
        array[arrays.bad_mask(array)] = 0
        return array

    return arrays.mapped(value, repair)


def _where_raised(
    error: BaseException,
) -> Tuple[Optional[Dict[str, Any]], str, Optional[str]]:
    """User's line, phase and layers from the traceback of an error."""
    layer_types = keras_api.layer_types()
    line, phase, rank = None, frames.FORWARD, 0
    layers: List[str] = []
    step = error.__traceback__
    while step is not None:
        code, owner = step.tb_frame.f_code, step.tb_frame.f_locals.get("self")
        found = frames.phase_of(code)
        if frames.RANK[found] > rank:
            phase, rank = found, frames.RANK[found]
        if frames.is_user_file(code.co_filename):
            line = frames.described_line(code, step.tb_lineno)
        if code.co_name == "__call__" and isinstance(owner, layer_types):
            layers.append(str(getattr(owner, "name", "")))
        step = step.tb_next
    # both the wrapper that cleans tracebacks and the method itself are called `__call__`
    names = [n for i, n in enumerate(layers) if i == 0 or layers[i - 1] != n]
    return line, phase, "/".join(names) or None
