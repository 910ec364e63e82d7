"""NUM001: a logged scalar is NaN or Inf."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forensics.detectors.base import LOSS_LINE, Example
from forensics.detectors.curves import bad_interval, curve_evidence, first_bad_index, is_loss
from forensics.detectors.scenes import checkpoint, curve, falling, logged, tensor
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.run import CheckpointStatus, Run, Series
from forensics.domain.scene import Scene

_HARMLESS_METRIC = (
    "; a metric does not feed back into the weights (a recall of an absent class is 0/0)"
)


@dataclass(frozen=True)
class NonFiniteScalar:
    """A logged loss, gradient norm or metric is NaN or infinite.

    **Why it is bad.** A NaN loss has no gradient that could lead anywhere: as soon as its gradient
    reaches a weight, every later step is lost. A NaN metric, in contrast, is only an unlucky
    formula, and an infinite gradient norm is normal while automatic loss scaling searches its
    scale.

    **What it says.** A training loss, a part of one (``g_loss``) and a validation loss are errors.
    A gradient norm is an error when the loss or a checkpoint is non-finite too, or the loss is
    blown up at the same step; otherwise it is only noted. Everything else is only noted.

    Parameters
    ----------
    shown : int
        Number of curves that are given as evidence, default 8.
    blown_up : float
        Loss, x its median, beside which an infinite gradient norm is no loss scaling; default 1000.

    References
    ----------
    .. [1] Zhang et al., "AUTOTRAINER: An Automatic DNN Training Problem Detection and Repair
       System", ICSE 2021: NaN in loss or weights is the first symptom looked for.
    .. [2] Micikevicius et al., "Mixed Precision Training", ICLR 2018, section 3.2: steps with
       non-finite gradients are skipped and the loss scale is lowered.
    """

    shown: int = 8
    blown_up: float = 1000.0

    code: ClassVar[str] = "NUM001"
    name: ClassVar[str] = "non-finite-scalar"
    requires: ClassVar[tuple[str, ...]] = (Quantity.TRAIN_LOSS,)
    needs_replay: ClassVar[bool] = False

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report one finding per kind of scalar, worst first."""
        run = scene.run
        if not any(is_loss(s) for s in run.series):
            yield NotChecked(
                self.code, "no training loss was logged", (Quantity.TRAIN_LOSS,), LOSS_LINE
            )
        groups: dict[str, list[tuple[Series, int]]] = defaultdict(list)
        for series in run.series:
            index = first_bad_index(series.values)
            if index is not None:
                groups[_kind(series)].append((series, index))
        harmed = self._harmed(run, groups)
        for kind in ("loss", "validation loss", "gradient norm", "learning rate", "metric"):
            if groups[kind]:
                yield self._finding(kind, groups[kind], harmed)

    def _harmed(self, run: Run, groups: dict[str, list[tuple[Series, int]]]) -> bool:
        """Whether training itself is known to hold non-finite values."""
        poisoned = any(c.status is CheckpointStatus.POISONED for c in run.checkpoint_stats)
        return poisoned or bool(groups["loss"]) or self._blown_up(run, groups["gradient norm"])

    def _blown_up(self, run: Run, norms: list[tuple[Series, int]]) -> bool:
        """Whether the loss was far above normal when a gradient norm was lost.

        A loss scale that is too high overflows gradients while the loss is ordinary.
        """
        loss = run.train_loss
        if loss is None or not np.isfinite(loss.values).any():
            return False
        usual = float(np.nanmedian(np.where(np.isfinite(loss.values), loss.values, np.nan)))
        for norm, index in norms:
            near = np.abs(loss.steps - norm.steps[index]) <= 1
            comparable = norm.step_axis is loss.step_axis and usual > 0 and near.any()
            if comparable and float(np.max(loss.values[near])) >= self.blown_up * usual:
                return True
        return False

    def _finding(self, kind: str, bad: list[tuple[Series, int]], harmed: bool) -> Finding:
        bad = sorted(
            bad, key=lambda e: (e[0].step_axis is not StepAxis.BATCH, int(e[0].steps[e[1]]))
        )
        series, index = bad[0]
        step = int(series.steps[index])
        interval = bad_interval(series, index)
        severity = {
            "loss": Severity.ERROR,
            "validation loss": Severity.ERROR,
            "gradient norm": Severity.ERROR if harmed else Severity.INFO,
        }.get(kind, Severity.INFO)
        value = _word(float(series.values[index]))
        summary = f"the {kind} `{series.tag}` is {value} at {series.step_axis.value} {step}"
        summary += _later(series, index) + _others(bad)
        if kind == "gradient norm" and not harmed:
            summary += "; loss and weights stay finite: skipped or overflowing logged norm, no harm"
        if kind == "metric":
            summary += _HARMLESS_METRIC
        return Finding(
            code=self.code,
            name=self.name,
            severity=severity,
            summary=summary,
            onset_step=step,
            onset_interval=interval,
            step_axis=series.step_axis,
            evidence=tuple(curve_evidence(s, i, len(s) - 1) for s, i in bad[: self.shown]),
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Show a NaN loss; NaN recall; norms that overflow while the loss scale is searched."""
        loss = falling(20)
        skipped = curve([math.inf] * 3 + [5.0] * 17, Quantity.GRADIENT_NORM)
        broken = curve([*loss[:12], math.inf, *[math.nan] * 7])
        return (
            Example("the loss becomes Inf, then NaN", logged(broken), 12, Severity.ERROR),
            Example(
                "the generator's loss is NaN, the discriminator's is not",
                logged(curve(loss), curve([1.0, 1.0, math.nan], Quantity.OTHER, "g_loss")),
                2,
                Severity.ERROR,
            ),
            Example(
                "the recall of an absent class is only noted",
                logged(curve(loss), curve([1.0, math.nan, 1.0], Quantity.METRIC, "recall")),
                1,
                Severity.INFO,
            ),
            Example(
                "gradient norms overflow while the loss scale is searched",
                logged(curve(loss), skipped, checkpoints=[checkpoint(20, tensor("w"))]),
                0,
                Severity.INFO,
            ),
            Example("a finite loss", logged(curve(loss))),
        )


def _kind(series: Series) -> str:
    if is_loss(series):
        return "loss"
    return {
        Quantity.VALIDATION_LOSS: "validation loss",
        Quantity.GRADIENT_NORM: "gradient norm",
        Quantity.LEARNING_RATE: "learning rate",
    }.get(series.quantity, "metric")


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else ("Inf" if value > 0 else "-Inf")


def _later(series: Series, index: int) -> str:
    """Say whether the curve recovers."""
    after = series.values[index:]
    bad = int(np.count_nonzero(~np.isfinite(after)))
    if bad == len(after):
        return " and stays so" if bad > 1 else ""
    return f" ({bad} of the last {len(after)} points)"


def _others(bad: Sequence[tuple[Series, int]]) -> str:
    tags = sorted({s.tag for s, _ in bad} - {bad[0][0].tag})
    return f", and so are {len(tags)} more curves" if tags else ""
