"""LOS004: the loss shoots up by orders of magnitude, even if it comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forensics.detectors.base import LOSS_LINE, Example
from forensics.detectors.curves import curve_evidence, loss_onset
from forensics.detectors.scenes import curve, falling, logged
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import Quantity
from forensics.domain.scene import Scene


@dataclass(frozen=True)
class LossSpike:
    """The loss rises far above that of the untrained model and comes back.

    **Why it is bad.** A model that is a thousand times worse than at random weights has been thrown
    out of everything it had learnt: a step was far too large, and what came back may have lost
    units or carries inflated optimizer moments.

    **What it says.** A warning when a finite loss exceeds both the first loss and the median loss
    by `factor`. Ordinary spikes stay silent, and a rise that lasts is LOS001.

    Parameters
    ----------
    factor : float
        Peak over the first and over the median loss, dimensionless; default 1000.

    References
    ----------
    .. [1] Chowdhery et al., "PaLM", 2022, section 5.1: loss spikes of large runs, which stay within
       a few times the level before.
    """

    factor: float = 1000.0

    code: ClassVar[str] = "LOS004"
    name: ClassVar[str] = "loss-spike"
    requires: ClassVar[tuple[str, ...]] = (Quantity.TRAIN_LOSS,)
    needs_replay: ClassVar[bool] = False

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report the highest spike."""
        loss = scene.run.train_loss
        if loss is None or len(loss) < 3:
            yield NotChecked(
                self.code, "no training loss of three points", (Quantity.TRAIN_LOSS,), LOSS_LINE
            )
            return
        finite = np.flatnonzero(np.isfinite(loss.values))
        onset = loss_onset(scene.run)
        if len(finite) < 3 or (onset is not None and onset.failed):
            return
        values = loss.values[finite]
        usual = max(float(values[0]), float(np.median(values)))
        over = np.flatnonzero(values >= self.factor * usual)
        if values[0] <= 0 or not len(over):
            return
        first, peak = int(finite[over[0]]), float(np.max(values))
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            summary=(
                f"the loss `{loss.tag}` shoots up to {peak:.3g}, {peak / usual:.2g} times its "
                f"usual level, at {loss.step_axis.value} {int(loss.steps[first])} and comes back"
            ),
            onset_step=int(loss.steps[first]),
            onset_interval=(int(loss.steps[max(first - 1, 0)]), int(loss.steps[first])),
            step_axis=loss.step_axis,
            evidence=(
                curve_evidence(
                    loss,
                    first,
                    int(finite[over[-1]]),
                    peak / usual,
                    self.factor,
                    "x the usual loss",
                ),
            ),
            score=float(np.log10(peak / usual)),
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Show a loss of 1e13 for two steps, a common spike, and a start from far above."""
        calm = falling(40, 1.4, 1.3)
        return (
            Example(
                "1e13 at step 10",
                logged(curve([*calm[:10], 2e13, 5e15, *calm[12:]])),
                10,
                Severity.WARNING,
            ),
            Example("ten-fold spike", logged(curve([*calm[:10], 14.0, *calm[11:]]))),
            Example("a fall from 5e4", logged(curve(falling(40, 5e4, 10.0)))),
        )
