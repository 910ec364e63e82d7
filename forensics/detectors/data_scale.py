"""DAT002: inputs or targets far from unit scale, or an outlier in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forensics.detectors.base import Example, not_observed
from forensics.detectors.scenes import curve, falling, part, replayed, run_of
from forensics.domain.evidence import BatchEvidence
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import StepAxis
from forensics.domain.replay import BatchPart, LayerObservation, StepObservation
from forensics.domain.run import TensorStats
from forensics.domain.scene import Scene

_NORMALISING = frozenset(
    {"BatchNormalization", "Normalization", "LayerNormalization", "GroupNormalization",
     "UnitNormalization", "Rescaling", "Discretization", "Hashing", "Embedding"}
)  # fmt: skip


_ENDS = 5
"""Logged losses at either end of which the level is taken."""


@dataclass(frozen=True)
class DataScale:
    """A float part of the batch is orders of magnitude larger than usual, or not normalised at all.

    **Why it is bad.** Gradients of the first layer are proportional to the inputs, those of a
    squared loss to the targets: a step that suits one column overshoots in another, and one corrupt
    record can overflow the loss, a moving variance or an optimizer's second moment.

    **What it says.** An element `outlier` times larger than anything in the batches before is an
    error. A float part beyond `largest` is a warning (tables and targets are expected at unit
    scale; 0..255 images stay below); behind a normalising first layer, or of targets that the model
    learns all the same, it is only noted. Integers are ids.

    Parameters
    ----------
    outlier : float
        Largest magnitude over the largest one of the batches before, dimensionless; default 1e3.
    largest : float
        Largest magnitude of inputs that pass for normalised, in their own unit; default 1e3.
    targets : float
        The same for targets: regressions count in hundreds and thousands; default 1e5.
    spread : float
        Ratio of column deviations from which columns are called incomparable, default 1e3.
    learnt : float
        Part of its first level to which the loss fell where large targets did no harm, default
        0.05: of a squared loss 95 % are explained then.

    References
    ----------
    .. [1] LeCun et al., "Efficient BackProp", 1998, section 4.3: zero mean, unit covariance.
    .. [2] Schoop et al., "UMLAUT", CHI 2021, and DeepDiagnosis, ICSE 2022: inputs outside [-1, 1];
       here a thousand times wider, because 0..255 images do train.
    """

    outlier: float = 1e3
    largest: float = 1e3
    targets: float = 1e5
    spread: float = 1e3
    learnt: float = 0.05

    code: ClassVar[str] = "DAT002"
    name: ClassVar[str] = "data-scale"
    requires: ClassVar[tuple[str, ...]] = ("batch",)
    needs_replay: ClassVar[bool] = True

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report outliers first, then parts that are not normalised."""
        seen = scene.observation
        if seen is None or not seen.batch:
            yield not_observed(self.code, scene, "the batch was not looked at")
            return
        for one in seen.batch:
            size = max_abs(one.stats)
            if one.integer or not size > 0:
                continue
            factor = outlier_factor(one)
            if factor is not None and factor >= self.outlier:
                yield self._outlier(one, seen, size, factor)
            elif self._wide(one, size):
                yield self._unnormalised(one, seen, size, self._learns(scene))

    def _wide(self, one: BatchPart, size: float) -> bool:
        limit = self.targets if is_target(one.name) else self.largest
        return size > limit and not one.name.startswith("sample_weight")

    def _learns(self, scene: Scene) -> bool:
        loss = scene.run.train_loss
        if loss is None or not np.isfinite(loss.values).all() or len(loss) < 2 * _ENDS:
            return False
        first, last = np.median(loss.values[:_ENDS]), np.median(loss.values[-_ENDS:])
        return bool(0 <= last < self.learnt * first)

    def _outlier(
        self, one: BatchPart, seen: StepObservation, size: float, factor: float
    ) -> Finding:
        rows = () if one.max_row is None else (one.max_row,)
        where = f" (row {one.max_row})" if rows else ""
        return self._report(
            one, seen, rows, factor, self.outlier, Severity.ERROR,
            f"`{one.name}` of step {seen.step} reaches {size:.3g}{where}, {factor:.3g} times the "
            "largest value of the batches before",
        )  # fmt: skip

    def _unnormalised(
        self, one: BatchPart, seen: StepObservation, size: float, learns: bool
    ) -> Finding:
        limit = self.targets if is_target(one.name) else self.largest
        text = f"`{one.name}` is not normalised: magnitudes up to {size:.3g}"
        if one.column_spread is not None and one.column_spread > self.spread:
            text += f", column deviations {one.column_spread:.3g} times apart"
        absorbed = not is_target(one.name) and _normalises(seen.layers)
        if absorbed:
            text += "; the first layer normalises it"
        learnt = is_target(one.name) and learns
        if learnt:
            text += "; the loss falls all the same"
        severity = Severity.INFO if absorbed or learnt else Severity.WARNING
        return self._report(one, seen, (), size, limit, severity, text)

    def _report(
        self, one: BatchPart, seen: StepObservation, rows: tuple[int, ...], measured: float,
        limit: float, severity: Severity, summary: str,
    ) -> Finding:  # fmt: skip
        unit = "x the batches before" if rows or "times the" in summary else "largest magnitude"
        return Finding(
            code=self.code,
            name=self.name,
            severity=severity,
            summary=summary,
            onset_step=seen.step,
            onset_interval=(seen.step, seen.step),
            step_axis=StepAxis.BATCH,
            evidence=(BatchEvidence(one.name, seen.step, rows, measured, limit, unit),),
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Show a corrupt record; raw columns; images, ids and a regression's targets."""
        return (
            Example(
                "a target of 4e20 among tens",
                replayed(step=28, batch=[part("y", largest=4e20, usual_max_abs=60.0, max_row=20)]),
                28,
                Severity.ERROR,
            ),
            Example(
                "a column of salaries",
                replayed(step=9, batch=[part("x", largest=2e5, usual_max_abs=2.1e5)]),
                9,
                Severity.WARNING,
            ),
            Example(
                "prices in currency units that are learnt",
                replayed(
                    run=run_of(curve(falling(60, first=1e11, last=1e9))),
                    step=9,
                    batch=[part("y", largest=4e5, usual_max_abs=4e5)],
                ),
                9,
                Severity.INFO,
            ),
            Example(
                "images, word ids and targets in hundreds",
                replayed(
                    batch=[
                        part("x/image", largest=255.0, usual_max_abs=255.0),
                        part("x/words", largest=50000.0, integer=True),
                        part("y", largest=840.0, usual_max_abs=700.0),
                    ]
                ),
            ),
        )


def max_abs(stats: TensorStats) -> float:
    """Largest finite magnitude; NaN when nothing is finite."""
    return max(abs(stats.min), abs(stats.max))


def outlier_factor(one: BatchPart) -> float | None:
    """Largest magnitude over the usual one, None when no other batch was seen."""
    usual = one.usual_max_abs
    return max_abs(one.stats) / usual if usual is not None and usual > 0 else None


def is_target(name: str) -> bool:
    """Whether a part of the batch is what the model is to predict."""
    return name.split("/")[0].lower() in {"y", "label", "labels", "target", "targets"}


def _normalises(layers: tuple[LayerObservation, ...]) -> bool:
    first = next((la for la in layers if la.kind not in (None, "InputLayer", "Flatten")), None)
    return first is not None and first.kind in _NORMALISING
