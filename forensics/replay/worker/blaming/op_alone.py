"""The op behind a failure, run by itself: whose bug it is, and a script that shows it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Dict, Optional

from ..channel import Channel
from ..reproducer import make
from .blame import blame, without_op
from .failing_op import FailingOp, NoOperands, failing_op

if TYPE_CHECKING:
    from ..stepping.failure import Failure

ENGINES_SHARE, REPRODUCER_SHARE = 0.3, 0.6
"""Parts of the time left that each may take."""


class OpAlone:
    """Fills ``whose_bug`` and ``reproducer_script`` of an answer.

    Parameters
    ----------
    failure : Failure
        After the localiser was asked.
    mode, device : str
        The run's own mode, and what it is replayed on.
    request : dict
        What the parent asked: ``artefacts``, ``with_data``.
    deadline : float
        `time.monotonic()` at which all must be done.
    """

    def __init__(
        self, failure: Failure, mode: str, device: str, request: Dict[str, Any], deadline: float
    ) -> None:
        self._failure, self._mode, self._device = failure, mode, device
        self._request, self._deadline = request, deadline
        self._op: Optional[FailingOp] = None

    def run(self, answer: Dict[str, Any], channel: Channel) -> Optional[str]:
        """Do both; return why there is no script, unless whose bug it is says that already."""
        channel.progress("asking whose bug it is")
        answer["whose_bug"] = self._whose_bug()
        # kernels run on operands of our own making: should one abort, this stands
        channel.partial(answer)
        channel.progress("writing and running a reproducer")
        place = make.Place(
            self._request, self._failure.step, self._device, answer["whose_bug"],
            self._by(REPRODUCER_SHARE),
        )  # fmt: skip
        try:
            if self._op is not None:
                answer["reproducer_script"] = make.of_op(self._op, place)
            else:
                answer["reproducer_script"] = make.of_batch(self._failure, place)
        except make.NoReproducer as error:
            return "no reproducer: %s" % error
        return None

    def _whose_bug(self) -> Dict[str, Any]:
        try:
            self._op = failing_op(self._failure, self._mode)
        except NoOperands as error:
            return without_op(error)
        return blame(self._op, self._by(ENGINES_SHARE))

    def _by(self, share: float) -> float:
        now = time.monotonic()
        return now + share * max(0.0, self._deadline - now)
