"""The whole order of a replay: load, restore, step forward, localise, observe, try remedies."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional

from .case.entry import CaseError, brief
from .case.sources import load_source
from .channel import Channel
from .failing_step import failing_step
from .on_failure import FailingStep
from .preparation import prepare
from .without_failure import without_failure

if TYPE_CHECKING:
    from .case.entry import Case
    from .scanning.scan import Scan
    from .stepping.search import Search
    from .stepping.state import State
    from .stepping.stepper import Stepper


def main() -> None:
    """Read the request from stdin, answer on stdout."""
    channel = Channel()
    request = json.loads(sys.stdin.read())
    sys.stdin = io.StringIO()
    warnings.simplefilter("ignore")
    session = Session(request, channel)
    try:
        answer = session.run()
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


class Session:
    """One replay.

    Parameters
    ----------
    request : dict
        ``source``, ``file``, ``function``, ``recording``, ``batch``, ``checkpoints`` (newest
        first: path, name, step, format), ``last_step``, ``failing_step``, ``clean_step``,
        ``clean_state``, ``finite_losses``, ``observe_step``, ``symptom``, ``loss_limit``,
        ``seconds``, ``device``, ``scan``.
    channel : Channel
        Where progress and answers go.
    """

    def __init__(self, request: Dict[str, Any], channel: Channel) -> None:
        self.request, self.channel = request, channel
        self.deadline = time.monotonic() + float(request["seconds"])
        self.notes: List[str] = []
        self.elsewhere: List[str] = []
        """What was done on another device than the replay's, and why."""
        self.scan: Optional[Scan] = None
        self.case: Case
        self.device: str
        self.state: State
        self.stepper: Stepper
        self.search: Search
        self.answer: Dict[str, Any] = {"status": "crashed", "reason": "the replay did not finish"}

    def run(self) -> Dict[str, Any]:
        """Do all of it and return the answer."""
        self.channel.progress("importing the program and TensorFlow")
        self.answer["source"] = self.request.get("source", "entry_point")
        self.case = load_source(self.request, self.notes)
        prepare(self)
        failure = failing_step(self)
        self.answer["started_from"] = self.search.started_from
        if self.case.recording is not None:
            self.notes.extend(self.case.recording.fidelity(self.search.exact_losses))
        if failure is None:
            return without_failure(self)
        self.answer.update(
            status="reproduced", step=failure.step, symptom=failure.symptom, reason=""
        )
        FailingStep(self, failure).run()
        self.answer["reason"] = "; ".join([*self.search.remarks(), *self.notes])
        self._degradations()
        return self.answer

    def _degradations(self) -> None:
        """Name the private parts of TensorFlow that were missed."""
        from .probes import degradations

        self.answer["degradations"] = [
            *self.answer.get("degradations", ()), *self.elsewhere, *degradations()
        ]  # fmt: skip

    def broken(self, why: str) -> Dict[str, Any]:
        """Return what is known although the rest failed."""
        if self.answer["status"] != "reproduced":
            return {**self.answer, "status": "crashed", "reason": why}
        return {**self.answer, "reason": "; ".join([*self.notes, why])}

    @contextlib.contextmanager
    def surviving(self, what: str) -> Iterator[None]:
        """Name a part that fails in the report; the rest of the answer stands."""
        try:
            yield
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            self.notes.append("%s failed: %s" % (what, brief(error)))
