"""Whether remedies are tried in a replay, from where, and for how long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Optional

from .sick import SickTrials, suspicious
from .trials import Trials

if TYPE_CHECKING:
    from ..session import Session
    from ..stepping.failure import Failure

PART = 0.8
"""Of the time that is left; the answer has to be written after it."""
LEAST = 2.0
"""Seconds in which nothing can be run."""


def try_on_failure(session: Session, failure: Failure) -> None:
    """Try remedies for a step that fails, and answer with them."""
    deadline = _deadline(session)
    if deadline is None:
        return
    session.channel.progress("trying remedies from step %d" % failure.trial_start[0])
    origins = [o for o in (session.answer.get("origin"),) if o is not None]
    origins += session.answer.get("other_origins") or []
    trials = Trials(
        session.stepper, failure, origins, session.search.built, session.request, deadline
    )
    session.answer["trials"] = trials.run()
    if not session.answer["trials"]:
        session.notes.append("no remedy was tried: the baseline did not fail a second time")


def try_on_suspect(session: Session) -> None:
    """Try remedies for a run that stays finite, where something about it is suspect."""
    suspicions = list(session.request["suspicions"])
    if not suspicions and not suspicious(session.case, session.stepper.batch(0)):
        return
    deadline = _deadline(session)
    if deadline is None:
        return
    session.channel.progress("trying remedies from the built state")
    trials = SickTrials(session.stepper, session.search.built, suspicions, deadline)
    session.answer["trials"] = trials.run()


def _deadline(session: Session) -> Optional[float]:
    """When to stop trying; None: there is no time, or none was asked for."""
    left, allowed = session.deadline - time.monotonic(), session.request["trial_seconds"]
    if allowed <= 0:
        return None
    if left < LEAST:
        session.notes.append("no time left for trials")
        return None
    return float(time.monotonic() + min(allowed, PART * left))
