"""The first harmful bad value of a failing step: origin, other origins, benign ones, chain."""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, Optional, Tuple

import numpy as np

from .. import arrays
from ..case.entry import brief
from ..stepping.given import bad_parts, input_origin, repaired, unusual, variable_origin
from ..stepping.given import batch_rows as batch_rows
from ..stepping.given import replace_bad as replace_bad
from ..stepping.state import Snapshot
from ..stepping.stepper import Outcome, Stepper, to_tensors
from ..tracing import frames
from ..tracing.births import FUNCTION
from ..tracing.listening import listening
from ..tracing.memory import TooLarge, halves
from ..tracing.records import CONSTANT, NONE, Habits, Harm, Operands, OpRecord
from ..tracing.trace import Trace
from .harm import hidden_causes, why_benign
from .raised import raised_origin

INPUT = -2
"""Source index of values that were bad in the batch already."""
STATE = -3
"""Stands for variables that were bad before the step."""
_MAX_OTHERS = 5
_MAX_SPARED = 8
"""Bad variables up to which each is asked by itself whether it does harm, at a run of the step."""


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
        self.habits = Habits()
        self.raised = self.tapes_kept = False
        self.first_row = 0
        """Row of the given batch that `batch` begins with: it is cut where memory is short."""
        self._fewer: List[str] = []
        self._harmless_parts: List[str] = []
        self.bad_parts = bad_parts(batch, healthy[1] if healthy is not None else None)
        known = self.state.bad(healthy[0]) if healthy is not None else {}
        self.bad_state = [n for n in self.state.bad(before) if n not in known]

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
        if outcome.symptom is None:
            found.origin = self._raised(failed.error)
            found.benign = [_benign(r, "the step stays finite op by op") for r in _born(trace)]
            return found
        # what raised an error need not be reached by a value: ask for the cause of the error
        self.raised = outcome.error is not None
        harmful = self._settled() or self._harmful(trace)
        found.benign = [
            _benign(r, why_benign(r)) for r in _born(trace)
            if r.index not in harmful and r.variable not in self.bad_state
        ][:20]  # fmt: skip
        self._input_origin(found, harmful)
        self._state_origin(found, harmful)
        self._birth_origins(found, harmful)
        found.rows = [self.first_row + row for row in found.rows]
        if self.raised and found.origin is None:
            found.origin = self._raised(outcome.error, failed.error)
        elif outcome.error is not None and found.origin is not None:
            found.origin["raised"] = brief(outcome.error)[:500]
        return found

    def _raised(self, *errors: Optional[BaseException]) -> Optional[Dict[str, Any]]:
        return raised_origin(self.stepper.case, *errors)

    # -- batch and state, which need no trace
    def _settled(self) -> FrozenSet[int]:
        """Whether the step is well with a repaired batch, or else with a repaired state."""
        if self.bad_parts and self._well(self.before, replace_bad(self.batch)):
            self._needed_parts()
            return frozenset((INPUT,))
        if not self.bad_state:
            return NONE
        healed = repaired(self.before)
        if self._well(healed, self.batch):
            self._needed_state()
            return frozenset((STATE,))
        if self.bad_parts and self._well(healed, replace_bad(self.batch)):
            return frozenset((INPUT, STATE))
        return NONE

    def _needed_parts(self) -> None:
        """Keep the parts without whose repair the step still fails, where there are such."""
        if len(self.bad_parts) > 1:
            needed = tuple(
                n for n in self.bad_parts if not self._well(self.before, replace_bad(self.batch, n))
            )
            self._harmless_parts = [n for n in self.bad_parts if needed and n not in needed]
            self.bad_parts = needed or self.bad_parts

    def _needed_state(self) -> None:
        """Keep the variables without whose repair the step still fails, where there are such."""
        if 1 < len(self.bad_state) <= _MAX_SPARED:
            keys = {v.name: v.key for v in self.state.variables}
            needed = [
                n
                for n in self.bad_state
                if not self._well(repaired(self.before, keys[n]), self.batch)
            ]
            self.bad_state = needed or self.bad_state

    def _well(self, before: Snapshot, batch: Any) -> bool:
        self.state.load(before)
        outcome = self.stepper.judge(self.stepper.own(batch), self.state.bad(before))
        self.state.load(self.before)
        return outcome.symptom is None

    def _input_origin(self, found: Localised, harmful: FrozenSet[int]) -> None:
        if INPUT not in harmful:
            found.benign.extend(
                {"op_type": "input", "op_name": n, "reason": "the step fails without it as well"}
                for n in self.bad_parts
            )
            return
        found.benign.extend(
            {"op_type": "input", "op_name": n, "reason": "the step is well with it as it is"}
            for n in self._harmless_parts
        )
        values = dict(arrays.leaves(self.batch))
        parts = [
            input_origin(name, values[name], self._bad_rows(name, values[name]), self.first_row)
            for name in self.bad_parts
        ]
        if parts:
            found.origin, found.others = parts[0], parts[1:]
            found.rows = sorted(
                {row - self.first_row for part in parts for row in part["input"]["rows"]}
            )
            found.chain = self._chain(found.trace, INPUT)

    def _bad_rows(self, name: str, array: Any) -> List[int]:
        """Rows that are bad where no row of the healthy batch is, else all bad ones."""
        rows = batch_rows(self.batch) or -1
        if array.ndim == 0 or array.shape[0] != rows:
            return []
        usual = dict(arrays.leaves(self.healthy[1])) if self.healthy is not None else {}
        news = unusual(array, usual.get(name)).reshape(rows, -1).any(axis=1)
        found = [int(row) for row in np.flatnonzero(news)]
        return found or arrays.bad_rows(array, rows)

    def _state_origin(self, found: Localised, harmful: FrozenSet[int]) -> None:
        if STATE not in harmful:
            return
        read = {r.variable: r for r in reversed(_born(found.trace)) if r.is_read}
        in_order = sorted(
            self.bad_state, key=lambda n: read[n].index if n in read else found.trace.count
        )
        values = {v.name: self.before.values[v.key] for v in self.state.variables
                  if v.key in self.before.values}  # fmt: skip
        origins = [
            read[n].origin() if n in read else variable_origin(n, values[n]) for n in in_order
        ]
        if found.origin is None:
            first = read.get(in_order[0])
            found.origin, origins = origins[0], origins[1:]
            found.chain = self._chain(found.trace, first.index) if first else []
        found.others = (found.others + origins)[:_MAX_OTHERS]

    # -- births in the step
    def _harmful(self, trace: Trace) -> FrozenSet[int]:
        """Births that reach what training keeps, and those without which the failure vanishes."""
        followed = NONE if self.raised else trace.reached()
        first = min((i for i in followed if i >= 0), default=None)
        suspects = [
            r.index for r in _born(trace)
            if r.index not in followed and (first is None or r.index < first)
            and r.phase != frames.METRIC and r.op_type != CONSTANT
        ]  # fmt: skip
        harmful = followed | hidden_causes(suspects, self._cures)
        if not harmful and not self.raised:
            # what is usual may still come where it does not belong
            harmful = trace.usual_reached()
            trace.records.update({i: trace.usual[i] for i in harmful if i in trace.usual})
            trace.harms.extend(trace.usual_harms)
        return harmful

    def _cures(self, births: FrozenSet[int]) -> bool:
        patched, outcome = self._failing(patch=births)
        cured = outcome.error is None if self.raised else outcome.symptom is None
        return patched.patched > 0 and cured

    def _birth_origins(self, found: Localised, harmful: FrozenSet[int]) -> None:
        trace = found.trace
        # a forward-mode derivative runs before the op that it belongs to
        ordered = sorted(
            (trace.records[i] for i in harmful if i in trace.records),
            key=lambda r: (r.op_type == FUNCTION, r.index),
        )
        independent = _one_per_site([
            r for r in ordered if r.forward_index is None or r.forward_index not in harmful
        ])  # fmt: skip
        if found.origin is None and len(independent) > 1:
            # births that happen without the first one too: the others were its consequences
            first = frozenset(r.index for r in ordered if r.site == independent[0].site)
            patched, _ = self._failing(patch=first)
            alive = frozenset(patched.records) if patched.patched else NONE
            independent = [independent[0], *(r for r in independent[1:] if r.index in alive)]
        for record in independent:
            _name_update(trace, record)
        origins = [r.origin() for r in independent]
        if found.origin is not None:
            found.others = (found.others + origins)[:_MAX_OTHERS]
        elif origins:
            found.origin, found.others = origins[0], origins[1 : 1 + _MAX_OTHERS]
            found.record = independent[0]
            found.rows = independent[0].rows
            found.chain = self._chain(trace, independent[0].index)

    def _chain(self, trace: Trace, source: int) -> List[str]:
        harms = [h for h in trace.harms if source in h.sources]
        if not harms:
            return []
        best: Harm = min(
            harms, key=lambda h: (not h.target.startswith("the differentiated"), h.chain_end)
        )
        return [*trace.chain(best), best.target]

    def operands(self, index: int) -> Optional[Operands]:
        """Run the failing step once more and keep what the op at `index` was given and answered."""
        self.state.load(self.before)
        data = to_tensors(self.batch)
        trace = Trace(self.state, batch_rows(data), self.habits, capture=index)
        with listening(trace, self.tapes_kept):
            self.stepper.eager(data)
        self.state.load(self.before)
        return trace.captured

    # -- tracing
    def _failing(self, patch: FrozenSet[int] = NONE, batch: Any = None) -> Tuple[Trace, Outcome]:
        """Trace the failing step, perhaps with values patched or with another batch."""
        while True:
            seeds = self.bad_parts if batch is None else ()
            given = self.batch if batch is None else batch
            trace, outcome = self.trace(self.before, given, patch, seeds)
            if not isinstance(outcome.error, TooLarge) or batch is not None:
                trace.degradations.extend(self._fewer)
                return trace, outcome
            if not self._with_fewer_rows():
                trace.degradations.append(str(outcome.error))
                return trace, outcome

    def _with_fewer_rows(self) -> bool:
        """Go on with the half of the batch that fails as well, where there is one."""
        for first, half in halves(self.batch, batch_rows(self.batch)):
            if not self._well(self.before, half):
                self.batch, self.first_row = half, self.first_row + first
                last = self.first_row + (batch_rows(half) or 1) - 1
                self._fewer = [
                    "the step was traced on rows %d to %d of its batch, which fail alone: with all "
                    "of them it takes more memory than there is" % (self.first_row, last)
                ]
                return True
        return False

    def trace(
        self, before: Snapshot, batch: Any, patch: FrozenSet[int] = NONE,
        seeds: Tuple[str, ...] = (),
    ) -> Tuple[Trace, Outcome]:  # fmt: skip
        """Run a step op by op from a state, which is put back."""
        from tensorflow.errors import OpError

        trace, outcome = self._once(before, to_tensors(batch), patch, seeds)
        if outcome.error is None or isinstance(outcome.error, (OpError, TooLarge)):
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
            else:
                trace.seed(part, INPUT, usual=True)
        with listening(trace, self.tapes_kept):
            outcome = self.stepper.eager(data)
        trace.loss_target(outcome.returned, "the returned loss")
        outcome.returned = None
        self.stepper.judge(outcome, self.state.bad(before))
        self.state.load(before)
        if trace.loops.needs_tapes_kept and not self.tapes_kept:
            self.tapes_kept = True
            return self._once(before, data, patch, seeds)
        return trace, outcome


def _born(trace: Trace) -> List[OpRecord]:
    return [record for _, record in sorted(trace.records.items())]


def _benign(record: OpRecord, reason: str) -> Dict[str, Any]:
    return {"op_type": record.op_type, "op_name": record.name, "reason": reason}


def _one_per_site(records: List[OpRecord]) -> List[OpRecord]:
    """Keep the first birth of each place in the program.

    A loop gives birth at every turn, a recomputation a second time, and where the forward op is
    named the gradient of the same line says nothing new.
    """
    kept: List[OpRecord] = []
    for record in records:
        line = record.site[2:]
        known = any(
            record.site == k.site or (record.phase == frames.BACKWARD and line == k.site[2:])
            for k in kept
            if line != (None, None) or record.site == k.site
        )
        if not known:
            kept.append(record)
    return kept


def _name_update(trace: Trace, record: OpRecord) -> None:
    """Name the variable that an update by hand writes, once it is known."""
    if record.phase != frames.OPTIMIZER or record.variable is not None:
        return
    names = {v.name for v in trace.state.variables}
    for harm in trace.harms:
        if record.index in harm.sources and harm.target in names:
            record.variable = harm.target
            record.layer = frames.layer_of_variable(harm.target)
            return
