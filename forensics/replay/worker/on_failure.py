"""What is done with a failing step: repeat, localise, rows, other instruments, remedies, blame."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, List

from .observing.observation import observe_failure

if TYPE_CHECKING:
    from .localising.localise import Localised
    from .session import Session
    from .stepping.failure import Failure

LEAST_SECONDS = 5
"""Below this the numerics check is not asked: it traces the step anew."""


class FailingStep:
    """Everything that is asked of a step that fails; each answer goes into the session's.

    Parameters
    ----------
    session : Session
        Whose answer, notes and deadline these are.
    failure : Failure
        The step, with the state before it and its batch.
    """

    def __init__(self, session: Session, failure: Failure) -> None:
        self.session, self.failure = session, failure

    def run(self) -> None:
        """Ask all of it; a part that fails is named in the notes, and the rest goes on."""
        self._repeat()
        if self.session.scan is not None:
            self.reproduction.attempts.extend(self.session.scan.attempts(self.reproduction.mode))
        for part in (
            self._localise, self._rows, self._check_numerics, self._trials,
            # last: it runs single kernels on operands of its own making, and a kernel may abort
            self._op_alone,
        ):  # fmt: skip
            self.session.channel.partial(self.session.answer)
            with self.session.surviving(part.__name__.strip("_")):
                part()

    def _repeat(self) -> None:
        """Run the failing step again, in its own mode and in others."""
        from .stepping.reproduce import Repeater

        self.session.channel.progress("reproducing step %d" % self.failure.step)
        self.repeater = Repeater(
            self.session.stepper,
            self.failure,
            self.session.device,
            self.session.request["loss_limit"],
            self.session.deadline,
        )
        self.reproduction = self.repeater.run()
        self.session.answer.update(
            attempts=self.reproduction.attempts, determinism=self.reproduction.determinism,
            unreplayable_ops=self.reproduction.random_ops,
        )  # fmt: skip

    def _localise(self) -> None:
        from .stepping.randomness import unreplayable

        found = self._traced()
        trace = found.trace
        self.session.notes.extend(self.repeater.op_by_op(self.reproduction, found.eager_outcome))
        found = self.failure.found = self._asked_elsewhere(found)
        if self.failure.symptom == "raised" and found.origin is None:
            self.session.notes.append(
                "step %d %s" % (self.failure.step, self.failure.outcome.describe())
            )
        self.session.notes.extend(trace.troubles)
        self._degraded(trace.degradations)
        self.session.answer.update(
            origin=found.origin, other_origins=found.others, benign=found.benign,
            chain=found.chain, samples=found.rows,
            unreplayable_ops=sorted({*self.reproduction.random_ops,
                                     *unreplayable(trace.random_ops)}),
        )  # fmt: skip
        with self.session.surviving("observation"):
            observe_failure(self.session, self.failure, trace)

    def _degraded(self, what: List[str]) -> None:
        """Say once in the answer what an instrument could not do here."""
        said = self.session.answer.setdefault("degradations", [])
        said.extend(w for w in what if w not in said)

    def _traced(self) -> Localised:
        """Trace the step op by op, where this version of TensorFlow lets us."""
        from . import probes
        from .localising.fallbacks import untraced
        from .localising.localise import Localiser
        from .stepping import placement

        if probes.part(probes.OP_CALLBACKS) is None:
            return untraced(self.session.stepper, self.failure)
        self.session.channel.progress("tracing step %d op by op" % self.failure.step)
        localiser = Localiser(
            self.session.stepper, self.failure.before, self.failure.batch, self.failure.healthy
        )
        return placement.traced(
            self.session.stepper, self.session.device, self.failure.symptom != "diverged",
            lambda: localiser.run(self.failure.outcome), self.session.elsewhere,
        )  # fmt: skip

    def _asked_elsewhere(self, found: Localised) -> Localised:
        """Let other instruments speak where the own trace is silent."""
        from .localising.fallbacks import Fallbacks

        fallbacks = Fallbacks(
            self.session.stepper,
            self.failure,
            self.repeater,
            self.reproduction,
            self.session.channel.progress,
        )
        with self.session.surviving("another instrument"):
            found = fallbacks.run(found)
        self.session.answer["instrument"] = fallbacks.instrument
        self.session.notes.extend(fallbacks.notes)
        return found

    def _rows(self) -> None:
        """Name the rows of the batch that make the step fail."""
        from .guilty_rows.rows import guilty_rows

        self.session.channel.progress("asking which rows make step %d fail" % self.failure.step)
        self.session.answer.update(
            guilty_rows(
                self.session.case, self.session.stepper, self.failure, self.session.deadline
            )
        )
        if self.session.scan is not None and self.session.scan.entry is not None:
            self.session.scan.entry["rows"] = self.session.answer["samples"]

    def _op_alone(self) -> None:
        """Run the op behind the failure by itself: whose bug it is, a script that shows it."""
        from .blaming.op_alone import OpAlone

        if self.failure.symptom != "diverged":
            alone = OpAlone(
                self.failure,
                self.reproduction.mode,
                self.session.device,
                self.session.request,
                self.session.deadline,
            )
            why_none = alone.run(self.session.answer, self.session.channel)
            self.session.notes.extend([why_none] if why_none else [])

    def _trials(self) -> None:
        from .trials.asked import try_on_failure

        try_on_failure(self.session, self.failure)

    def _check_numerics(self) -> None:
        from .localising.numerics import Beside

        if (
            self.failure.symptom == "diverged"
            or time.monotonic() > self.session.deadline - LEAST_SECONDS
        ):
            return
        self.session.channel.progress("asking enable_check_numerics")
        beside = Beside(
            self.session.stepper, self.failure, self.reproduction.mode, self.session.answer
        )
        self.session.answer["check_numerics"] = beside.found
        self.session.notes.extend(beside.notes)
        origin = beside.stand_in() if self.session.answer.get("origin") is None else None
        if origin is not None:
            self.session.answer["origin"], self.session.answer["instrument"] = (
                origin,
                "check_numerics",
            )
