"""OPT001: the learning rate rose before the failure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forensics.detectors.base import LEARNING_RATE_LINE, Example
from forensics.detectors.curves import before, curve_evidence, failure
from forensics.detectors.scenes import curve, falling, logged
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import Quantity
from forensics.domain.run import Series
from forensics.domain.scene import Scene


@dataclass(frozen=True)
class RaisedLearningRate:
    """The learning rate was several times above its earlier level when the run failed.

    **Why it is bad.** Training is stable only below a step size that depends on the curvature of
    the loss; a schedule that rises, a warm-up that climbs too high or a resume with other settings
    crosses it.

    **What it says.** A warning, and only for a run that failed with the rate within `near` of the
    highest rate so far. The onset is the first step at which the rate passed `rise`.

    Parameters
    ----------
    rise : float
        Rate at the failure over the lowest rate before it, dimensionless; default 3.
    near : float
        Rate at the failure over the highest rate so far, at least; default 0.5.

    References
    ----------
    .. [1] Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017: the range test,
       in which the loss diverges where the rising rate passes the stable range.
    .. [2] Cohen et al., "Gradient Descent on Neural Networks Typically Occurs at the Edge of
       Stability", ICLR 2021: the stable range ends at 2 over the sharpness.
    """

    rise: float = 3.0
    near: float = 0.5

    code: ClassVar[str] = "OPT001"
    name: ClassVar[str] = "raised-learning-rate"
    requires: ClassVar[tuple[str, ...]] = (Quantity.LEARNING_RATE,)
    needs_replay: ClassVar[bool] = False

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report a rate that had risen when the run failed."""
        rates = scene.run.of(Quantity.LEARNING_RATE)
        if not rates:
            yield NotChecked(
                self.code,
                "the learning rate was not logged",
                (Quantity.LEARNING_RATE,),
                LEARNING_RATE_LINE,
            )
            return
        failed = failure(scene.run)
        if failed is None:
            return
        for rate in rates:
            if rate.step_axis is failed.axis:
                yield from self._judge(rate, min(before(rate, failed) + 1, len(rate)))
                return

    def _judge(self, rate: Series, end: int) -> Iterator[Finding]:
        values = rate.values[:end]
        if len(values) < 2 or not np.all(np.isfinite(values)) or np.max(values) <= 0:
            return
        now, top = float(values[-1]), float(np.max(values))
        low = float(np.min(values[values > 0]))
        risen = now / low
        if risen < self.rise or now < self.near * top:
            return
        index = int(np.flatnonzero(values >= self.rise * low)[-1])
        for k in range(index, -1, -1):  # first point of the last stretch above the limit
            if values[k] < self.rise * low:
                break
            index = k
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            summary=(
                f"the learning rate `{rate.tag}` had risen {risen:.3g}-fold, from {low:.3g} to "
                f"{now:.3g}, when the run failed"
            ),
            onset_step=int(rate.steps[index]),
            onset_interval=(int(rate.steps[0]), int(rate.steps[index])),
            step_axis=rate.step_axis,
            evidence=(
                curve_evidence(rate, index, end - 1, risen, self.rise, "x the lowest rate before"),
            ),
            score=float(np.log10(risen)),
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Show a jump of ten before a NaN; a schedule that falls; a warm-up of a healthy run."""
        broken = curve([*falling(30), float("nan")])
        rate = Quantity.LEARNING_RATE
        return (
            Example(
                "ten-fold from step 20 on",
                logged(broken, curve([0.01] * 20 + [0.1] * 11, rate)),
                20,
                Severity.WARNING,
            ),
            Example("a falling rate", logged(broken, curve([0.1] * 20 + [0.01] * 11, rate))),
            Example(
                "a warm-up that goes well",
                logged(curve(falling(30)), curve([0.001 * (k + 1) for k in range(30)], rate)),
            ),
        )
