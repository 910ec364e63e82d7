"""ACT002: sigmoid or tanh layers pinned at their ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from forensics.detectors.base import Example, not_observed
from forensics.detectors.layers_of import improvement
from forensics.detectors.scenes import curve, replayed, run_of
from forensics.domain.evidence import LayerEvidence
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import StepAxis
from forensics.domain.scene import Scene


@dataclass(frozen=True)
class SaturatedUnits:
    """Hidden sigmoid or tanh layers answer with the ends of their range; the loss does not fall.

    **Why it is bad.** At its ends the slope of the activation is nearly zero, so that no gradient
    passes to the layers before.

    **What it says.** A warning when at least `share` of the activations of a hidden layer are
    within 1 % of the ends while the loss improved by less than `improved`. The last layer is left
    out: a sure classifier saturates it on purpose.

    Parameters
    ----------
    share : float
        Fewest share of saturated activations, default 0.9.
    improved : float
        Share of the early loss that a learning run must have lost, default 0.05.

    References
    ----------
    .. [1] Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
       networks", AISTATS 2010.
    .. [2] DeepDiagnosis, ICSE 2022: more than half of the nodes beyond +-5 before the activation.
    """

    share: float = 0.9
    improved: float = 0.05

    code: ClassVar[str] = "ACT002"
    name: ClassVar[str] = "saturated-units"
    requires: ClassVar[tuple[str, ...]] = ("layers",)
    needs_replay: ClassVar[bool] = True

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report the saturated hidden layers together."""
        seen = scene.observation
        measured = [] if seen is None else [
            la for la in seen.layers if la.saturated_fraction is not None
        ]  # fmt: skip
        if seen is None or not seen.layers:
            yield not_observed(self.code, scene, "no activation was looked at")
            return
        last = seen.layers[-1].name
        found = [
            la
            for la in measured
            if la.name != last and (la.saturated_fraction or 0.0) >= self.share
        ]
        loss = scene.run.train_loss
        if not found or loss is None or not improvement(loss.values) < self.improved:
            return
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            summary=f"{len(found)} hidden layers are saturated: "
            + ", ".join(f"`{la.name}`" for la in found[:6]),
            onset_step=seen.step,
            onset_interval=None,
            step_axis=StepAxis.BATCH,
            evidence=tuple(
                LayerEvidence(
                    la.name, seen.step, la.saturated_fraction, self.share, "share of saturated"
                )
                for la in found[:12]
            ),
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Saturated tanh layers on a flat loss; the same while the loss falls."""
        from forensics.domain.replay import LayerObservation

        layers = [
            LayerObservation("h1", "Dense", "tanh", saturated_fraction=0.98),
            LayerObservation("out", "Dense", "sigmoid", saturated_fraction=1.0),
        ]
        flat = run_of(curve([0.7] * 30))
        return (
            Example("flat loss", replayed(flat, step=29, layers=layers), 29, Severity.WARNING),
            Example("falling loss", replayed(step=29, layers=layers)),
        )
