"""GRD002: gradients die on the way to the first layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forensics.detectors.base import LAYER_GRADIENT_LINE, Example
from forensics.detectors.curves import curve_evidence
from forensics.detectors.layers_of import improvement, layer_gradients, layer_series
from forensics.detectors.scenes import curve, falling, logged
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.run import FloatArray
from forensics.domain.scene import Scene


@dataclass(frozen=True)
class VanishingGradients:
    """The weakest layer's gradient is orders of magnitude below the strongest; nothing is learnt.

    **Why it is bad.** Layers without gradient keep their initial weights; the loss stays where it
    started.

    **What it says.** Kernel and bias of a layer count together (the bias of an attention key has no
    gradient by construction). A warning when the ratio and the norm are both below their limits
    over the whole second half of the run while the loss improves by less than `improved`. Gradients
    that are exactly zero are another matter: GRD003.

    Parameters
    ----------
    ratio : float
        Weakest over strongest layer's norm, dimensionless; default 1e-3.
    norm : float
        Norm of the weakest layer, in units of the loss per unit of weight; default 1e-4.
    improved : float
        Share of the early loss that must be lost for the run to count as learning, default 0.05.
    points : int
        Fewest logged steps, default 20.

    References
    ----------
    .. [1] Zhang et al., AUTOTRAINER, ICSE 2021: norm of the first layer below 1e-4 and below 1e-3
       of the last layer's.
    .. [2] Bengio et al., "Learning long-term dependencies with gradient descent is difficult",
       IEEE Transactions on Neural Networks 5, 1994.
    """

    ratio: float = 1e-3
    norm: float = 1e-4
    improved: float = 0.05
    points: int = 20

    code: ClassVar[str] = "GRD002"
    name: ClassVar[str] = "vanishing-gradients"
    requires: ClassVar[tuple[str, ...]] = (Quantity.GRADIENT_NORM, "layers", Quantity.TRAIN_LOSS)
    needs_replay: ClassVar[bool] = False

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report the weakest layer."""
        run = scene.run
        steps, layers = layer_gradients(run)
        loss = run.train_loss
        if not layers or loss is None or loss.step_axis is not StepAxis.BATCH:
            yield NotChecked(
                self.code,
                "no gradient norm per layer was logged beside the loss",
                (Quantity.GRADIENT_NORM, "layers"),
                LAYER_GRADIENT_LINE,
            )
            return
        if len(steps) < self.points or not improvement(loss.values) < self.improved:
            return
        found = self._weakest(layers)
        if found is None:
            return
        layer, ratio, norm, strongest = found
        series = layer_series(run, layer)
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            summary=(
                f"the gradient of `{layer}` ({norm:.2g}) is {ratio:.2g} of that of `{strongest}`, "
                "all through, and the loss does not fall"
            ),
            onset_step=int(steps[0]),
            onset_interval=(int(steps[0]), int(steps[len(steps) // 2])),
            step_axis=StepAxis.BATCH,
            evidence=(
                curve_evidence(series, 0, len(series) - 1, ratio, self.ratio, "x strongest layer"),
                curve_evidence(series, 0, len(series) - 1, norm, self.norm, "gradient norm"),
            ),
            score=-float(np.log10(ratio)),
        )

    def _weakest(self, layers: dict[str, FloatArray]) -> tuple[str, float, float, str] | None:
        """(layer, norm over the strongest's, norm, strongest layer) where both limits hold."""
        half = {name: values[len(values) // 2 :] for name, values in layers.items()}
        if not all(np.all(np.isfinite(v)) for v in half.values()):
            return None
        alive = {name: v for name, v in half.items() if np.median(v) > 0}
        if len(alive) < 2:
            return None
        top = np.max(np.stack(list(alive.values())), axis=0)
        weakest = min(alive, key=lambda name: float(np.median(alive[name])))
        strongest = max(alive, key=lambda name: float(np.median(alive[name])))
        values = alive[weakest]
        held = (values < self.norm) & (values <= self.ratio * top)
        if not np.mean(held) >= 0.9:
            return None
        norm = float(np.median(values))
        return weakest, norm / float(np.median(top)), norm, strongest

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Show a deep sigmoid stack that learns nothing; an attention layer that starts slowly."""
        flat = curve([0.25 + 0.001 * (k % 3) for k in range(40)])
        norms = [
            curve([10.0 ** (2 * d - 12)] * 40, Quantity.GRADIENT_NORM, layer=f"net/d{d}/kernel")
            for d in range(6)
        ]
        slow = [
            curve([1e-6] * 40, Quantity.GRADIENT_NORM, layer="net/q/kernel"),
            curve([0.3] * 40, Quantity.GRADIENT_NORM, layer="net/out/kernel"),
        ]
        return (
            Example("six layers, two decades each", logged(flat, *norms), 0, Severity.WARNING),
            Example("weak layer, but the loss falls", logged(curve(falling(40)), *slow)),
        )
