"""GRD003: the gradients of layers drop to exactly zero and stay there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forensics.detectors.base import LAYER_GRADIENT_LINE, Example
from forensics.detectors.curves import curve_evidence
from forensics.detectors.layers_of import layer_gradients, layer_series
from forensics.detectors.scenes import curve, falling, logged
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.run import FloatArray
from forensics.domain.scene import Scene


@dataclass(frozen=True)
class DeadGradients:
    """Layers that learnt before receive a gradient of exactly zero until the end.

    **Why it is bad.** Exactly zero for every sample and every weight of a layer means that no path
    leads back to it any more: its rectified units, or those behind it, are off for every input, and
    no later step can wake them.

    **What it says.** The layers and the step at which the last of them fell silent. Layers that
    never had a gradient are left out (they may be frozen), and so is a run in which all layers are
    silent because the loss itself reached zero.

    Parameters
    ----------
    points : int
        Fewest logged steps of silence, default 10.
    share : float
        Fewest share of the run that must be silent, default 0.25.
    layers : int
        Fewest layers that fell silent, default 1.

    References
    ----------
    .. [1] Lu et al., "Dying ReLU and Initialization: Theory and Numerical Examples", 2020.
    .. [2] Zhang et al., AUTOTRAINER, ICSE 2021: dying ReLU by the share of zero gradients.
    """

    points: int = 10
    share: float = 0.25
    layers: int = 1

    code: ClassVar[str] = "GRD003"
    name: ClassVar[str] = "dead-gradients"
    requires: ClassVar[tuple[str, ...]] = (Quantity.GRADIENT_NORM, "layers")
    needs_replay: ClassVar[bool] = False

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report the layers that fell silent."""
        run = scene.run
        steps, layers = layer_gradients(run)
        if not layers:
            yield NotChecked(
                self.code,
                "no gradient norm per layer was logged",
                (Quantity.GRADIENT_NORM, "layers"),
                LAYER_GRADIENT_LINE,
            )
            return
        silent = {
            n: k for n, k in ((n, self._since(v)) for n, v in layers.items()) if k is not None
        }
        loss = run.train_loss
        solved = loss is not None and len(loss) > 0 and float(loss.values[-1]) == 0.0
        if len(silent) < self.layers or solved:
            return
        first = min(silent.values())
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            summary=(
                f"the gradients of {len(silent)} of {len(layers)} layers are exactly zero from "
                f"step {int(steps[first])} on: {', '.join(f'`{n}`' for n in list(silent)[:4])}"
            ),
            onset_step=int(steps[first]),
            onset_interval=(int(steps[first]), int(steps[max(silent.values())])),
            step_axis=StepAxis.BATCH,
            evidence=tuple(
                curve_evidence(layer_series(run, n), k, len(steps) - 1, 0.0, 0.0, "gradient norm")
                for n, k in list(silent.items())[:8]
            ),
            score=len(silent) / len(layers),
        )

    def _since(self, values: FloatArray) -> int | None:
        """Index from which a layer that had a gradient has none any more."""
        alive = np.flatnonzero(values != 0)
        if not len(alive) or np.isnan(values[alive[-1]]):
            return None
        since = int(alive[-1]) + 1
        long = len(values) - since >= max(self.points, self.share * len(values))
        return since if long else None

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Two of three layers die after a spike; a sparse layer that rests for single steps."""
        loss = curve([2.4, 1300.0] + [2.3] * 38)
        dead = [
            curve([1.0, 500.0] + [0.0] * 38, Quantity.GRADIENT_NORM, layer=f"net/r{k}/kernel")
            for k in (1, 2)
        ]
        out = curve([1.0, 300.0] + [0.2] * 38, Quantity.GRADIENT_NORM, layer="net/out/bias")
        rare = curve([1.0, 0.0, 0.0, 1.0] * 10, Quantity.GRADIENT_NORM, layer="net/emb/embeddings")
        return (
            Example("silent from step 2", logged(loss, *dead, out), 2, Severity.WARNING),
            Example("a sparse layer", logged(curve(falling(40)), rare, out)),
        )
