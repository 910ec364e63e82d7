"""Find the failing step: by stepping forward, or by a scan where that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from .session import Session
    from .stepping.failure import Failure


def failing_step(session: Session) -> Optional[Failure]:
    """Find the failing step by stepping forward, or by a scan where that was asked for.

    Data that is shuffled anew has no batch of a step: stepping would run through others.
    """
    wanted, asked = session.request["symptom"] != "none", session.request.get("scan", False)
    if wanted and not (asked and session.stepper.reshuffled()):
        failure = session.search.run()
        if failure is not None and asked:
            session.notes.append("no scan was needed: the failing step was met by stepping")
        if failure is None and not asked and session.stepper.reshuffled():
            session.notes.append("the data set comes in another order each time: try --scan")
        if failure is not None:
            return failure
    if not wanted and not asked and session.case.recording is None:
        session.channel.progress("stepping past the end of the log")
        return session.search.after_the_end()
    return _scanned(session) if asked else None


def _scanned(session: Session) -> Optional[Failure]:
    from .scanning.scan import Scan
    from .stepping.modes import configured

    scan = session.scan = Scan(
        session.request, session.search, session.stepper, session.deadline, session.device,
        session.channel.progress,
    )  # fmt: skip
    failure = None
    with session.surviving("scan"):
        failure = scan.run()
    session.notes.extend(scan.notes)
    session.answer["scan"] = scan.fields
    if failure is None:
        session.answer["attempts"] = scan.attempts(configured(session.stepper))
    return failure
