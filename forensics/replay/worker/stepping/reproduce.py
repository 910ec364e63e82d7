"""Run the failing step again: in its own mode, k of n, and in the modes that differ from it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ContextManager, Dict, List, Optional, Tuple

from . import modes
from .calls import watching
from .randomness import of_graphs

if TYPE_CHECKING:
    from .failure import Failure
    from .state import Snapshot
    from .stepper import Outcome, Stepper

RUNS = 3
"""Times that a step is run in its own mode, the one that was met included."""
MORE_RUNS = 10
"""Times that it is run when it did not fail every time: k of n wants some n."""
MODE_SECONDS = 30.0
"""Another mode is not tried when the step in its own mode takes more than a third of this."""


class Reproduction:
    """What repeating a failing step showed.

    Attributes
    ----------
    mode : str
        How the run's own step is executed, as its calls show: ``jit``, ``graph`` or ``eager``.
    attempts : list of dict
        Fields of the report's attempts.
    determinism : str
        ``bitwise``, ``tolerance`` or ``none``: how alike the states after two runs are.
    random_ops : list of str
        Ops of the compiled functions that called for something no snapshot restores.
    failing : set of str
        Modes in which the step failed.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.attempts: List[Dict[str, Any]] = []
        self.determinism = "none"
        self.random_ops: List[str] = []
        self.failing = {mode}

    @property
    def jit_only(self) -> bool:
        """Whether only XLA makes the step fail (as far as other modes were tried)."""
        return self.mode == modes.JIT and any(
            a["mode"] == modes.GRAPH and not a["times_reproduced"] for a in self.attempts
        )


class Repeater:
    """Runs a failing step from its snapshot.

    Parameters
    ----------
    stepper : Stepper
        Runs the step.
    failure : Failure
        The step, the state before it, its batch.
    device : str
        For the attempts table.
    limit : float or None
        For ``diverged``: the loss above which the step counts as failed.
    deadline : float
        `time.monotonic()` at which to stop.
    """

    def __init__(
        self, stepper: Stepper, failure: Failure, device: str, limit: Optional[float],
        deadline: float,
    ) -> None:  # fmt: skip
        self.stepper, self.failure, self.device = stepper, failure, device
        self.limit, self.deadline = limit, deadline

    def run(self) -> Reproduction:
        """Repeat the step in its own mode, then where it can tell something in others."""
        started = time.monotonic()
        with watching() as calls:
            hits, runs, afters = self._own_mode()
        cost = (time.monotonic() - started) / max(1, runs - 1)
        found = Reproduction(calls.mode() or modes.configured(self.stepper))
        found.determinism = afters[0].likeness(afters[1])
        found.random_ops = of_graphs(calls.graphs(), fed=self.stepper.case.step is None)
        found.attempts.append(self._attempt(found.mode, self._said(), hits, runs))
        if found.mode == modes.JIT and not self._diverged:
            self._other(found, modes.GRAPH, modes.without_jit(self.stepper), cost)
        return found

    def without_fusion(self, found: Reproduction) -> Optional[bool]:
        """Run a graph step as it was written; whether it fails then too, None: no time for it."""
        return self._other(found, modes.UNFUSED, modes.without_fusion(self.stepper), 0.0)

    def op_by_op(self, found: Reproduction, outcome: Outcome) -> List[str]:
        """Note the step's run op by op, which the trace made; say where it differs."""
        own = self.failure.outcome
        if found.mode == modes.EAGER or self.stepper.case.opaque or self._diverged:
            return []
        hit = outcome.symptom is not None
        if hit:
            found.failing.add(modes.EAGER)
        found.attempts.append(self._attempt(modes.EAGER, outcome.describe(), int(hit), 1))
        if not hit:
            return ["op by op the step stays finite: only the %s mode fails" % found.mode]
        if outcome.error is not None and own.error is None:
            return ["op by op the step %s" % outcome.describe()]
        return []

    @property
    def _diverged(self) -> bool:
        return self.failure.symptom == "diverged"

    def _own_mode(self) -> Tuple[int, int, List[Snapshot]]:
        hits, runs = 1, 1
        afters: List[Snapshot] = []
        while runs < RUNS or (hits < runs < MORE_RUNS and time.monotonic() < self.deadline - 30):
            outcome, after = self._once()
            hits += outcome.symptom_beyond(self.limit) is not None
            runs += 1
            afters = [*afters[:1], after]
        return hits, runs, afters

    def _once(self) -> Tuple[Outcome, Snapshot]:
        state = self.stepper.state
        state.load(self.failure.before)
        bad_before = state.bad()
        outcome = self.stepper.own(self.failure.batch)
        after = state.snapshot()
        return self.stepper.judge(outcome, bad_before, after), after

    def _other(
        self, found: Reproduction, mode: str, switched: ContextManager[None], cost: float
    ) -> Optional[bool]:
        if 3 * cost > MODE_SECONDS or time.monotonic() > self.deadline - MODE_SECONDS / 2:
            return None
        with switched:
            outcome, _ = self._once()
        self.stepper.state.load(self.failure.before)
        hit = outcome.symptom is not None
        if hit:
            found.failing.add(mode)
        found.attempts.append(self._attempt(mode, outcome.describe(), int(hit), 1))
        return hit

    def _said(self) -> str:
        outcome = self.failure.outcome
        if self._diverged and outcome.loss is not None:
            return "loss %.4g passed %.4g" % (outcome.loss, self.limit or 0.0)
        return outcome.describe()

    def _attempt(self, mode: str, outcome: str, hits: int, runs: int) -> Dict[str, Any]:
        return {
            "mode": mode, "device": self.device, "seed": None, "outcome": outcome,
            "times_reproduced": hits, "times_run": runs,
        }  # fmt: skip
