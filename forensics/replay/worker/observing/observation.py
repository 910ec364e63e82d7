"""A step as the report shows it: layers, batch, configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from . import observe

if TYPE_CHECKING:
    from ..session import Session
    from ..stepping.failure import Failure
    from ..tracing.trace import Trace


def observe_failure(session: Session, failure: Failure, trace: Trace) -> None:
    """Describe the step that was traced; the state is put back."""
    session.state.load(failure.before)
    session.answer["config"] = observe.config(session.case, session.state, failure.batch)
    session.stepper.own(failure.batch)
    after = session.state.snapshot()
    session.state.load(failure.before)
    session.answer["observation"] = {
        "step": failure.step,
        "loss": failure.outcome.loss,
        "layers": observe.layers(session.case, session.state, trace, failure.before, after),
        "batch": observe.batch_parts(session.stepper, failure.step, 0),
        "first_step_of_run": failure.step == 0,
    }


def observe_last_step(session: Session) -> Optional[int]:
    """Observe the last step that the run trained and for which there are state and batch."""
    from ..stepping.stepper import EndOfData

    starts, missing = session.search.starts(), None
    for start in [c for c in starts if c["step"] <= session.request["observe_step"]] or starts:
        step = int(start["step"])
        try:
            batch = session.stepper.batch(step)
        except EndOfData as error:
            missing = "no batch for step %d (%s)" % (step, error)
            continue
        if session.search.enter(start):
            with session.surviving("observation"):
                _observe(session, step, batch)
            return step
    if missing is not None:
        session.notes.append(missing)
    return None


def _observe(session: Session, step: int, batch: Any) -> None:
    from ..localising.localise import Localiser
    from ..stepping.failure import Failure

    before = session.state.snapshot()
    session.channel.progress("observing step %d" % step)
    trace, outcome = Localiser(session.stepper, before, batch, None).trace(before, batch)
    observe_failure(session, Failure((step, before, batch), outcome, "none"), trace)
