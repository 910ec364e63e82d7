"""ACT001: rectified layers that are off for nearly every input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from forensics.detectors.base import Example, not_observed
from forensics.detectors.scenes import replayed
from forensics.domain.evidence import LayerEvidence
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import StepAxis
from forensics.domain.replay import LayerObservation
from forensics.domain.scene import Scene


@dataclass(frozen=True)
class DeadUnits:
    """A rectified layer answers zero to nearly everything and its weights get no gradient.

    **Why it is bad.** A unit that is off for every sample has a zero gradient and can never come
    back.

    **What it says.** A warning only when both hold: nearly all activations zero and a gradient of
    exactly zero. Sparse activations with a gradient are normal.

    Parameters
    ----------
    zero : float
        Fewest share of zero activations of a layer, default 0.9.

    References
    ----------
    .. [1] Lu et al., "Dying ReLU and Initialization: Theory and Numerical Examples", 2020.
    .. [2] AUTOTRAINER, ICSE 2021, and DeepDiagnosis, ICSE 2022: 70 % zeros; here stricter, and the
       gradient must be zero too, because half of a healthy rectified layer is off at any time.
    """

    zero: float = 0.9

    code: ClassVar[str] = "ACT001"
    name: ClassVar[str] = "dead-units"
    requires: ClassVar[tuple[str, ...]] = ("layers",)
    needs_replay: ClassVar[bool] = True

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report the dead layers together."""
        seen = scene.observation
        if seen is None or not any(la.zero_fraction is not None for la in seen.layers):
            yield not_observed(self.code, scene, "no activation was looked at")
            return
        dead = [la for la in seen.layers if self._dead(la)]
        if not dead:
            return
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            summary=(
                f"{len(dead)} rectified layers are off and get no gradient: "
                + ", ".join(f"`{la.name}`" for la in dead[:6])
            ),
            onset_step=seen.step,
            onset_interval=None,
            step_axis=StepAxis.BATCH,
            evidence=tuple(
                LayerEvidence(la.name, seen.step, la.zero_fraction, self.zero, "share of zeros")
                for la in dead[:12]
            ),
            score=max(la.zero_fraction or 0.0 for la in dead),
        )

    def _dead(self, layer: LayerObservation) -> bool:
        name = (layer.activation or layer.kind or "").lower()
        return (
            "relu" in name
            and layer.zero_fraction is not None
            and layer.zero_fraction >= self.zero
            and layer.gradient_norm == 0.0
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Show a dead layer; a sparse one that still learns."""
        dead = LayerObservation("r1", "Dense", "relu", gradient_norm=0.0, zero_fraction=1.0)
        sparse = LayerObservation("r1", "Dense", "relu", gradient_norm=0.1, zero_fraction=0.95)
        return (
            Example("all zero", replayed(step=50, layers=[dead]), 50, Severity.WARNING),
            Example("sparse but learning", replayed(layers=[sparse])),
        )
