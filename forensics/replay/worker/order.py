"""The whole order of a replay: load, restore, step forward, localise, observe, try remedies."""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
import warnings
from typing import Any, Dict

from .case.entry import CaseError, brief
from .case.sources import load_source
from .channel import Channel
from .failing_step import failing_step
from .on_failure import FailingStep
from .preparation import prepare
from .session import Session
from .without_failure import without_failure


def main() -> None:
    """Read the request from stdin, answer on stdout."""
    channel = Channel()
    request = json.loads(sys.stdin.read())
    sys.stdin = io.StringIO()
    warnings.simplefilter("ignore")
    session = Session(request, channel)
    try:
        answer = run(session)
    except CaseError as error:
        answer = {**session.answer, "status": "not_run", "reason": str(error)}
    except MemoryError:
        answer = session.broken("the replay ran out of memory")
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        answer = session.broken("the replay failed: " + brief(error))
    channel.answer(answer)
    # threads of the user's program must not keep the process alive
    sys.stderr.flush()
    os._exit(0)


def run(session: Session) -> Dict[str, Any]:
    """Do all of it and return the answer."""
    session.channel.progress("importing the program and TensorFlow")
    session.answer["source"] = session.request.get("source", "entry_point")
    session.case = load_source(session.request, session.notes)
    prepare(session)
    failure = failing_step(session)
    session.answer["started_from"] = session.search.started_from
    if session.case.recording is not None:
        session.notes.extend(session.case.recording.fidelity(session.search.exact_losses))
    if failure is None:
        return without_failure(session)
    session.answer.update(
        status="reproduced", step=failure.step, symptom=failure.symptom, reason=""
    )
    FailingStep(session, failure).run()
    session.answer["reason"] = "; ".join([*session.search.remarks(), *session.notes])
    _say_what_was_missed(session)
    return session.answer


def _say_what_was_missed(session: Session) -> None:
    """Name the private parts of TensorFlow that were missed."""
    from .probes import degradations

    session.answer["degradations"] = [
        *session.answer.get("degradations", ()), *session.elsewhere, *degradations()
    ]  # fmt: skip
