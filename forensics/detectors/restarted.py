"""LOG001: the run was restarted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forensics.detectors.base import LOSS_LINE, Example
from forensics.detectors.scenes import curve, falling, logged
from forensics.domain.evidence import CurveEvidence
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import Quantity
from forensics.domain.run import Series
from forensics.domain.scene import Scene


@dataclass(frozen=True)
class Restarted:
    """The steps of the loss go back: the run was resumed from an earlier state.

    **Why it is bad.** By itself it is not. The stretch is there twice, once of each process. Both
    are kept: a tool that drops one of them may drop the one that failed. What the checkpoint did
    not hold (data order, random seeds, sometimes the optimizer's slots) starts anew at this step.

    **What it says.** A note, never more: a restart by itself is healthy.

    Parameters
    ----------
    least : int
        Logged steps that are repeated, at least; default 1.

    References
    ----------
    .. [1] TensorBoard, ``event_accumulator.py``: events of steps that were written again are
       purged, which is what this note stands against.
    """

    least: int = 1

    code: ClassVar[str] = "LOG001"
    name: ClassVar[str] = "restarted"
    requires: ClassVar[tuple[str, ...]] = (Quantity.TRAIN_LOSS,)
    needs_replay: ClassVar[bool] = False

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report each place at which the steps of the training loss go back."""
        loss = scene.run.train_loss
        if loss is None:
            yield NotChecked(
                self.code, "no training loss was logged", (Quantity.TRAIN_LOSS,), LOSS_LINE
            )
            return
        for index in np.flatnonzero(np.diff(loss.steps) < 0) + 1:
            yield from self._judge(loss, int(index))

    def _judge(self, loss: Series, index: int) -> Iterator[Finding]:
        last, first = int(loss.steps[index - 1]), int(loss.steps[index])
        earlier = loss.steps[:index]
        repeated = int(np.count_nonzero(earlier >= first))
        if repeated < self.least:
            return
        evidence = CurveEvidence(
            loss.tag, first, last, loss.step_axis, repeated, self.least, "steps written again"
        )
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.INFO,
            summary=(
                f"the run was restarted: after step {last} the loss `{loss.tag}` goes on at step "
                f"{first}; both stretches are kept"
            ),
            onset_step=first,
            onset_interval=(first, last),
            step_axis=loss.step_axis,
            evidence=(evidence,),
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Show a run resumed from step 20 of 30, and one that was not."""
        whole = curve(falling(40))
        steps = np.concatenate([np.arange(30), np.arange(20, 40)]).astype(np.int64)
        again = Series(
            whole.quantity,
            whole.tag,
            whole.writer,
            whole.step_axis,
            steps,
            np.concatenate([whole.values[:30], whole.values[20:]]),
            np.arange(len(steps), dtype=np.float64),
        )
        return (
            Example("resumed from step 20", logged(again), 20, Severity.INFO),
            Example("never resumed", logged(whole)),
        )
