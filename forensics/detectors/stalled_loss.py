"""LOS002: the loss stops falling before it should, or only swings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forensics.detectors.base import LOSS_LINE, Example
from forensics.detectors.curves import curve_evidence, loss_onset
from forensics.detectors.diverging_loss import STALLED_KINDS, noted_as_part
from forensics.detectors.scenes import curve, falling, logged
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import Quantity
from forensics.domain.scene import Scene


@dataclass(frozen=True)
class StalledLoss:
    """The training loss turns flat at once, or swings without falling.

    **Why it is bad.** A sudden stop is no convergence: something keeps the model from learning on,
    such as units that died, gradients that collapsed or a step size at which the loss only bounces.

    **What it says.** A warning with the onset found by the change-point analysis of the loss and
    the gradient norm. A loss that flattens gradually is not reported,
    and of a part of the loss (no total was logged) it is only noted.

    Parameters
    ----------
    points : int
        Fewest points after the onset for a stop to count, default 10.

    References
    ----------
    .. [1] SageMaker Debugger, rule LossNotDecreasing, compares every 10 steps.
    .. [2] Zhang et al., AUTOTRAINER, ICSE 2021: unstable and non-converging training.
    """

    points: int = 10

    code: ClassVar[str] = "LOS002"
    name: ClassVar[str] = "stalled-loss"
    requires: ClassVar[tuple[str, ...]] = (Quantity.TRAIN_LOSS,)
    needs_replay: ClassVar[bool] = False

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report a plateau or an oscillation."""
        loss, onset = scene.run.train_loss, loss_onset(scene.run)
        if loss is None or onset is None:
            yield NotChecked(
                self.code, "no training loss of two points", (Quantity.TRAIN_LOSS,), LOSS_LINE
            )
            return
        index = onset.onset
        if not onset.failed or index is None or onset.kind not in STALLED_KINDS:
            return
        if len(loss) - index < self.points:
            return
        step, last = int(loss.steps[index]), len(loss) - 1
        low, high = onset.interval if onset.interval is not None else (index, index)
        verb = "swings" if onset.kind in ("oscillation", "variance_rise") else "stops falling"
        found = Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            summary=(
                f"the loss `{loss.tag}` {verb} at {loss.step_axis.value} {step} ({onset.kind})"
            ),
            onset_step=step,
            onset_interval=(int(loss.steps[max(low, 0)]), int(loss.steps[min(high, last)])),
            step_axis=loss.step_axis,
            evidence=(curve_evidence(loss, index, last, onset.effect, None, "effect"),),
            p_value=onset.p_value,
            score=onset.effect,
        )
        yield noted_as_part(found) if scene.run.train_loss_is_part else found

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Show a loss that falls steadily and stops at once; one that converges."""
        fall = np.exp(np.concatenate([np.linspace(1.5, 0.0, 150), np.zeros(150)]))
        stopped = fall * (1 + np.random.default_rng(3).normal(0.0, 0.01, 300))
        return (
            Example("a stop at step 149", logged(curve(stopped)), 149, Severity.WARNING),
            Example("a loss that converges", logged(curve(falling(150)))),
        )
