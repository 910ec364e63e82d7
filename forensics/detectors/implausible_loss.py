"""LOS003: the first loss is far above that of guessing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forensics.detectors.base import LOSS_LINE, Example
from forensics.detectors.curves import curve_evidence
from forensics.detectors.scenes import curve, falling, logged
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import Quantity
from forensics.domain.run import Run
from forensics.domain.scene import Scene


@dataclass(frozen=True)
class ImplausibleLoss:
    """A classifier starts with a loss orders of magnitude above the loss of guessing.

    **Why it is bad.** Guessing among K classes costs ln K. A network that starts a thousand times
    above is sure of wrong answers before it saw anything: its inputs or its weights are far from
    unit scale, and the first part of the training only shrinks the logits.

    **What it says.** A warning when an accuracy is logged (so that the loss is one of
    classification) and the first losses are above ``factor * ln(classes)``. The limit leaves room
    for losses that are summed over a batch of up to `factor` samples.

    Parameters
    ----------
    factor : float
        Times the loss of guessing, default 1000.
    classes : int
        Number of classes allowed for, default 1000.
    points : int
        First points whose median is judged, default 5.

    References
    ----------
    .. [1] Braiek and Khomh, "TheDeepChecker", TOSEM 2022: the initial loss against ln K.
    .. [2] LeCun et al., "Efficient BackProp", 1998, section 4.3: inputs of unit scale.
    """

    factor: float = 1000.0
    classes: int = 1000
    points: int = 5

    code: ClassVar[str] = "LOS003"
    name: ClassVar[str] = "implausible-first-loss"
    requires: ClassVar[tuple[str, ...]] = (Quantity.TRAIN_LOSS, Quantity.METRIC)
    needs_replay: ClassVar[bool] = False

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report a first loss that is implausibly high."""
        loss = scene.run.train_loss
        if loss is None or not len(loss):
            yield NotChecked(
                self.code, "no training loss was logged", (Quantity.TRAIN_LOSS,), LOSS_LINE
            )
            return
        if loss.steps[0] > self.points or not _is_classifier(scene.run):
            return
        first = loss.values[: self.points]
        limit = self.factor * math.log(self.classes)
        # The lower of first value and median: a run that blows up after one step is not meant.
        level = float(min(first[0], np.median(first))) if np.all(np.isfinite(first)) else math.nan
        if not level > limit:
            return
        last = min(self.points, len(loss)) - 1
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            summary=f"the loss `{loss.tag}` starts at {level:.3g}, guessing costs a few units",
            onset_step=int(loss.steps[0]),
            onset_interval=(int(loss.steps[0]), int(loss.steps[last])),
            step_axis=loss.step_axis,
            evidence=(curve_evidence(loss, 0, last, level, limit, "loss"),),
            score=float(np.log10(level / limit)),
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Show a classifier on raw columns; a summed loss; a regression."""
        accuracy = curve([0.4] * 20, Quantity.METRIC, "accuracy")
        return (
            Example(
                "cross-entropy of 5e4", logged(curve(falling(20, 5e4, 1e4)), accuracy), 0,
                Severity.WARNING,
            ),
            Example("summed over 200 samples", logged(curve(falling(20, 1e3, 10.0)), accuracy)),
            Example("a regression", logged(curve(falling(20, 5e4, 1e4)))),
        )  # fmt: skip


def _is_classifier(run: Run) -> bool:
    """Whether an accuracy between 0 and 1 was logged."""
    for series in run.of(Quantity.METRIC):
        values = series.values[np.isfinite(series.values)]
        named = "acc" in series.tag.replace("\\", "/").split("/")[-1].lower()
        if named and len(values) and values.min() >= 0 and values.max() <= 1:
            return True
    return False
