"""What the parts of a replay share: the request, the answer, the case and the means to step it."""

from __future__ import annotations

import contextlib
import time
import traceback
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional

from .case.entry import brief
from .channel import Channel

if TYPE_CHECKING:
    from .case.entry import Case
    from .scanning.scan import Scan
    from .stepping.search import Search
    from .stepping.state import State
    from .stepping.stepper import Stepper


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
