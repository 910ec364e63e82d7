"""Which instrument names the origin where the own trace does not: in this order, the first wins.

A step that only XLA fails is traced with the values of XLA; one that only the graph fails is dumped
(tfdbg2); functions without a program are inlined and watched. What nobody names is left to
`enable_check_numerics`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, List, Optional

from .. import probes
from ..stepping import modes
from ..stepping.stepper import to_tensors
from ..tracing.as_compiled import ALONE, WITH_PRODUCERS, as_compiled
from ..tracing.births import ONE_OP
from ..tracing.function_calls import inlined_graph, is_function_call
from ..tracing.trace import Trace
from .debug_dump import debug_dump
from .fallback_origin import Named
from .fused import fused_kernels
from .localise import Localised, Localiser

if TYPE_CHECKING:
    from ..stepping.failure import Failure
    from ..stepping.reproduce import Repeater, Reproduction
    from ..stepping.stepper import Stepper

OWN_TRACE, DEBUG_DUMP, INLINED = "own_trace", "debug_dump", "inlined_graph"
CHECK_NUMERICS, ERROR, COMPILED = "check_numerics", "error_message", "compiled_ops"


class Fallbacks:
    """Asks the other instruments.

    Parameters
    ----------
    stepper : Stepper
        Runs the step.
    failure : Failure
        What failed; `found` is what the own trace said.
    repeater, reproduction : Repeater, Reproduction
        In which modes the step fails.
    progress : callable
        Takes one line at a time.
    """

    def __init__(
        self, stepper: Stepper, failure: Failure, repeater: Repeater,
        reproduction: Reproduction, progress: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.stepper, self.failure = stepper, failure
        self.repeater, self.reproduction = repeater, reproduction
        self.progress = progress
        self.instrument: Optional[str] = None
        self.notes: List[str] = []

    def run(self, found: Localised) -> Localised:
        """Return what the own trace found, or what another instrument found instead."""
        self.instrument = _spoke(found)
        if is_function_call((found.origin or {}).get("op_type")):
            return self._take(found, INLINED, self._inlined())
        if found.origin is not None or self.failure.symptom in ("raised", "diverged"):
            return found
        if modes.EAGER not in self.reproduction.failing and not self.stepper.case.opaque:
            if self.reproduction.jit_only:
                return self._compiled(found, jit=True)
            if self._fused():
                return self._compiled(found, jit=False)
            found = self._take(found, DEBUG_DUMP, self._dumped())
        elif probes.part(probes.OP_CALLBACKS) is None:
            return self._take(found, DEBUG_DUMP, self._dumped())
        if found.origin is None:
            found = self._take(found, INLINED, self._inlined())
        return found

    def _take(self, found: Localised, instrument: str, named: Optional[Named]) -> Localised:
        if named is None:
            return found
        self.instrument = instrument
        if instrument == INLINED:
            # it was looked into after all
            said = found.trace.degradations
            said[:] = [d for d in said if not d.startswith(ONE_OP)]
        found.origin, found.others, found.benign = named.origin, named.others, named.benign
        found.chain, found.rows, found.record = named.chain, named.rows, None
        found.operands = named.operands
        self.notes.extend(named.notes)
        return found

    def _dumped(self) -> Optional[Named]:
        self.progress("dumping the health of every tensor of the graph")
        return debug_dump(self.stepper, self.failure)

    def _inlined(self) -> Optional[Named]:
        self.progress("looking into functions without a program")
        return inlined_graph(self.stepper, self.failure)

    def _compiled(self, found: Localised, jit: bool) -> Localised:
        """Trace the step with its ops' values as XLA, or Grappler, makes them."""
        if probes.part(probes.OP_CALLBACKS) is None:
            return found
        self.progress("compiling the ops of the step one by one")
        engine = "XLA" if jit else "Grappler's rewriting"
        failure, tried = self.failure, 0
        for depth in (ALONE, WITH_PRODUCERS) if jit else (WITH_PRODUCERS,):
            with as_compiled(jit, depth) as compiled:
                localiser = Localiser(self.stepper, failure.before, failure.batch, failure.healthy)
                other = localiser.run(failure.outcome)
            tried += compiled.tried
            if other.origin is not None and compiled.replaced:
                self.instrument = COMPILED
                self.notes.append(_differs(engine, depth, compiled.replaced[0]))
                return other
        self.notes.append(
            "only %s makes the step fail, and none of %d ops does when it is compiled alone or "
            "with those before it%s: the origin is undecided"
            % (engine, tried, "" if compiled.in_time else " (there was no time for all of them)")
        )
        return found

    def _fused(self) -> bool:
        """Whether the step fails by fused or rewritten ops only: a dump does not see those."""
        if self.repeater.without_fusion(self.reproduction) is not False:
            return False
        kernels = fused_kernels(self.stepper, self.failure)
        self.notes.append(
            "the graph fails only with its ops rewritten or fused by Grappler%s: a dump and "
            "enable_check_numerics watch ops one by one, which are not fused then"
            % (" (it ran %s)" % kernels if kernels else "")
        )
        return True


def untraced(stepper: Stepper, failure: Failure) -> Localised:
    """Run the failing step op by op without looking at its ops: nothing is named yet."""
    stepper.state.load(failure.before)
    outcome = stepper.eager(to_tensors(failure.batch))
    stepper.judge(outcome, stepper.state.bad(failure.before))
    stepper.state.load(failure.before)
    return Localised(Trace(stepper.state), outcome)


def _differs(engine: str, depth: int, program: str) -> str:
    how = "compiled alone" if depth == ALONE else "compiled together"
    return (
        "only %s makes the step fail: %s, on the operands of the step, %s gives a value that is "
        "not finite, and a finite one op by op" % (engine, how, program)
    )


def _spoke(found: Localised) -> Optional[str]:
    if found.origin is None:
        return None
    raised_only = found.origin.get("raised") is not None and found.record is None
    return ERROR if raised_only and found.origin.get("input") is None else OWN_TRACE
