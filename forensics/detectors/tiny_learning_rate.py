"""OPT002: the learning rate is too small to move anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forensics.detectors.base import LEARNING_RATE_LINE, Example
from forensics.detectors.curves import curve_evidence
from forensics.detectors.layers_of import improvement
from forensics.detectors.scenes import curve, falling, logged
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import Quantity
from forensics.domain.scene import Scene


@dataclass(frozen=True)
class TinyLearningRate:
    """The learning rate stays below the usual range and the loss does not fall.

    **Why it is bad.** The run costs what a good one costs and learns nothing.

    **What it says.** A warning when the highest logged rate is below `smallest` and the loss, over
    at least `points` points, improved by less than `improved`.

    Parameters
    ----------
    smallest : float
        Learning rate below which no common optimizer makes progress, default 1e-6.
    improved : float
        Share of the early loss that a learning run must have lost, default 0.01.
    points : int
        Fewest points of the loss, default 50.

    References
    ----------
    .. [1] Schoop et al., "UMLAUT", CHI 2021: usual range 1e-7 to 1e-2; here judged only together
       with a loss that does not fall, so that fine-tuning stays silent.
    """

    smallest: float = 1e-6
    improved: float = 0.01
    points: int = 50

    code: ClassVar[str] = "OPT002"
    name: ClassVar[str] = "tiny-learning-rate"
    requires: ClassVar[tuple[str, ...]] = (Quantity.LEARNING_RATE, Quantity.TRAIN_LOSS)
    needs_replay: ClassVar[bool] = False

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report a rate that is too small throughout."""
        rates, loss = scene.run.of(Quantity.LEARNING_RATE), scene.run.train_loss
        if not rates or loss is None or not len(rates[0]):
            yield NotChecked(
                self.code,
                "the learning rate was not logged",
                (Quantity.LEARNING_RATE,),
                LEARNING_RATE_LINE,
            )
            return
        top = float(np.max(rates[0].values))
        still = improvement(loss.values) < self.improved and bool(np.all(np.isfinite(loss.values)))
        if not 0 < top < self.smallest or len(loss) < self.points or not still:
            return
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            summary=f"the learning rate never exceeds {top:.3g} and the loss does not fall",
            onset_step=int(rates[0].steps[0]),
            onset_interval=None,
            step_axis=rates[0].step_axis,
            evidence=(
                curve_evidence(rates[0], 0, len(rates[0]) - 1, top, self.smallest, "learning rate"),
            ),
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Show a rate of 1e-8 on a flat loss, and the same while the loss falls."""
        rate = curve([1e-8] * 60, Quantity.LEARNING_RATE)
        return (
            Example("flat loss", logged(curve([2.3] * 60), rate), 0, Severity.WARNING),
            Example("fine-tuning", logged(curve(falling(60)), rate)),
        )
