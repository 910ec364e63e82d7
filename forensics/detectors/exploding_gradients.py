"""GRD001: gradient norms grow by orders of magnitude up to the failure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forensics.detectors.base import GRADIENT_LINE, Example
from forensics.detectors.curves import Failure, before, curve_evidence, failure, log_level
from forensics.detectors.scenes import curve, falling, logged
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import Quantity
from forensics.domain.run import FloatArray, Series
from forensics.domain.scene import Scene


@dataclass(frozen=True)
class ExplodingGradients:
    """Gradient norms leave the band of the healthy part by orders of magnitude before the failure.

    **Why it is bad.** Each step then moves the weights further than all steps before together,
    until something overflows.

    **What it says.** The limit is relative to the run itself: median and MAD of log10 of the norm
    over the healthy part; a peak within `lookback` points of the failure must pass both `decades`
    and `sigmas`. A run that fails in its first `cold` points has no healthy part: there the norm
    must have grown by `decades` since the first point, or be `huge` from the start. Without any
    failure a peak is no finding: training survived it.

    Parameters
    ----------
    decades : float
        Growth over the healthy median, in powers of ten; default 2.
    sigmas : float
        Growth over the healthy median, in robust standard deviations of log10; default 6.
    lookback : int
        Points before the failure in which the growth is looked for, default 10.
    cold : int
        Fewest points of a healthy part, default 8.
    huge : float
        Norm that is too large whatever the scale of the loss, default 1e6.

    References
    ----------
    .. [1] Braiek and Khomh, "TheDeepChecker", TOSEM 2022: exploding above a mean of 1e6.
    .. [2] Pascanu et al., "On the difficulty of training recurrent neural networks", ICML 2013.
    .. [3] Zhang et al., AUTOTRAINER, ICSE 2021: a ratio of 70 between layers; here two decades in
       time, because norms differ between models by more than that.
    """

    decades: float = 2.0
    sigmas: float = 6.0
    lookback: int = 10
    cold: int = 8
    huge: float = 1e6

    code: ClassVar[str] = "GRD001"
    name: ClassVar[str] = "exploding-gradients"
    requires: ClassVar[tuple[str, ...]] = (Quantity.GRADIENT_NORM,)
    needs_replay: ClassVar[bool] = False

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report the series of gradient norms that grew most."""
        series = gradient_series(scene)
        if not series:
            yield NotChecked(
                self.code, "no gradient norm was logged", (Quantity.GRADIENT_NORM,), GRADIENT_LINE
            )
            return
        failed = failure(scene.run)
        if failed is None:
            return
        found = [g for g in (self._grown(s, failed) for s in series) if g is not None]
        if found:
            yield self._finding(max(found, key=lambda g: g[3]))

    def _grown(self, norm: Series, failed: Failure) -> tuple[Series, int, int, float] | None:
        """(series, first index outside the band, index of the peak, decades grown) or None."""
        # The norm of the failing step itself belongs to the evidence when it is not NaN.
        end = before(norm, failed) + 1
        values = norm.values[:end]
        values = values[: _first_nan(values)]
        if not len(values):
            return None
        if len(values) < self.cold + 2:
            return self._cold(norm, values)
        start = max(self.cold, len(values) - self.lookback)
        middle, spread = log_level(values[:start])
        if math.isnan(middle):
            return None
        logs = _log10(values[start:])
        limit = middle + max(self.decades, self.sigmas * spread)
        outside = np.flatnonzero(logs > limit)
        if not len(outside):
            return None
        peak = int(np.argmax(logs))
        return norm, start + int(outside[0]), start + peak, float(logs[peak] - middle)

    def _cold(self, norm: Series, values: FloatArray) -> tuple[Series, int, int, float] | None:
        logs = _log10(values)
        alive = np.flatnonzero(values > 0)
        if not len(alive):
            return None
        start, peak = int(alive[0]), int(np.argmax(logs))
        if logs[start] >= math.log10(self.huge):
            return norm, start, peak, float(logs[peak] - math.log10(self.huge))
        grown = float(logs[peak] - logs[start])
        if grown >= self.decades:
            return norm, int(np.flatnonzero(logs - logs[start] >= self.decades)[0]), peak, grown
        return None

    def _finding(self, found: tuple[Series, int, int, float]) -> Finding:
        norm, first, peak, grown = found
        step = int(norm.steps[first])
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            summary=self._summary(norm, first, peak, grown),
            onset_step=step,
            onset_interval=(int(norm.steps[max(first - 1, 0)]), step),
            step_axis=norm.step_axis,
            evidence=(
                curve_evidence(norm, first, peak, grown, self.decades, "decades above healthy")
                if not self._huge_at_start(norm, first)
                else curve_evidence(
                    norm, first, peak, float(norm.values[peak]), self.huge, "gradient norm"
                ),
            ),
            score=None if math.isinf(grown) else grown,
        )

    def _huge_at_start(self, norm: Series, first: int) -> bool:
        """Whether it was found by its size in the first points, not by any growth."""
        return not np.any(norm.values[:first] > 0) and float(norm.values[first]) >= self.huge

    def _summary(self, norm: Series, first: int, peak: int, grown: float) -> str:
        value, since = float(norm.values[peak]), f"{norm.step_axis.value} {int(norm.steps[first])}"
        if self._huge_at_start(norm, first):
            start = float(norm.values[first])
            later = f" and reaches {value:.3g}" if value > 2.0 * start else ""
            return (
                f"the gradient norm `{norm.tag}` is {start:.3g} from {since} on{later} "
                f"(limit {self.huge:.3g})"
            )
        size = (
            "past the largest float" if math.isinf(grown) else f"{10.0 ** min(grown, 300):.3g}-fold"
        )
        return (
            f"the gradient norm `{norm.tag}` grows {size} up to the failure "
            f"(to {value:.3g}), out of its band since {since}"
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Growth over five steps; growth from the second step; a spike that training survives."""
        norm = [1.0] * 20 + [200.0, 4e3, 1e5, 3e7, 1e12]
        loss = [*falling(24), math.inf]
        spike = [1.0] * 20 + [500.0] + [1.0] * 20
        return (
            Example(
                "growth from step 20 to the Inf loss at 24",
                logged(curve(loss), curve(norm, Quantity.GRADIENT_NORM)),
                20,
                Severity.ERROR,
            ),
            Example(
                "a run that fails in its third step",
                logged(
                    curve([1.4, 2e13, math.nan]),
                    curve([0.5, 1e17, math.inf], Quantity.GRADIENT_NORM),
                ),
                1,
                Severity.ERROR,
            ),
            Example(
                "a spike that training survives",
                logged(curve(falling(41)), curve(spike, Quantity.GRADIENT_NORM)),
            ),
            Example(
                "a NaN out of the blue",
                logged(
                    curve([*falling(24), math.nan]),
                    curve([1.0] * 24 + [math.nan], Quantity.GRADIENT_NORM),
                ),
            ),
        )


def gradient_series(scene: Scene) -> tuple[Series, ...]:
    """Return the global gradient norm if there is one, else the norms of the layers."""
    norm = scene.run.gradient_norm
    return (norm,) if norm is not None else scene.run.of(Quantity.GRADIENT_NORM)


def _first_nan(values: FloatArray) -> int:
    bad = np.flatnonzero(np.isnan(values))
    return int(bad[0]) if len(bad) else len(values)


def _log10(values: FloatArray) -> FloatArray:
    """log10 with Inf kept and everything not positive at the bottom."""
    out = np.full(len(values), -300.0)
    positive = values > 0
    out[positive] = np.log10(values[positive])
    return out
