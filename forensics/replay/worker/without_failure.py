"""The answer where the failure was not met, or where there was none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict

from .observing.observation import observe_last_step

if TYPE_CHECKING:
    from .session import Session


def without_failure(session: Session) -> Dict[str, Any]:
    """Observe one step, for what can be read off it without a failure."""
    from .trials.asked import try_on_suspect

    other = session.search.other
    # a program that fits no checkpoint and fails elsewhere says nothing about this run
    step = None if other is not None and session.search.foreign else observe_last_step(session)
    if session.request["symptom"] == "none" and step is not None:
        with session.surviving("trials"):
            try_on_suspect(session)
    session.answer["started_from"] = session.search.started_from
    if session.request["symptom"] != "none":
        candidates = [] if session.search.foreign else [_candidates(session)]
        reasons = [
            *session.search.remarks(),
            other or "the failure was not met",
            *session.notes,
            *candidates,
        ]
    else:
        seen = "one step was observed" if step is not None else "no step could be observed"
        reasons = [
            *session.search.remarks(), "no failure to reproduce; " + seen, *session.notes
        ]  # fmt: skip
    session.answer.update(status="not_reproduced", step=step, reason="; ".join(reasons))
    return session.answer


def _candidates(session: Session) -> str:
    """Say what can be the difference between the run and the replay, as far as facts tell."""
    from .stepping.candidates import candidates

    with session.surviving("looking for the difference"):
        return "candidates: " + "; ".join(candidates(session.case, session.stepper, session.search))
    return "candidates: unknown"
