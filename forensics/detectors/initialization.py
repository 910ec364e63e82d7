"""WGT001: weights start far too large."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from forensics.detectors.base import CHECKPOINT_LINE, Example
from forensics.detectors.curves import failure
from forensics.detectors.scenes import checkpoint, curve, falling, logged, tensor
from forensics.domain.evidence import LayerEvidence
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import StepAxis
from forensics.domain.run import TensorKind
from forensics.domain.scene import Scene

_NO_KERNEL = ("embedding", "recurrent", "moving", "optimizer", "gamma", "beta")


@dataclass(frozen=True)
class Initialization:
    """The kernels of most layers start several times wider than usual initializers make them.

    **Why it is bad.** A layer multiplies the scale of its input by ``std * sqrt(fan_in / 2)``
    (ReLU); a factor above one is applied once per layer and grows geometrically with depth.

    **What it says.** Kernels are judged before the first update: at the first step of the run in a
    replay, or in a checkpoint of step 0. An error when the run failed within its first `early`
    steps, a note otherwise: what starts wide may still train.

    Parameters
    ----------
    ratio : float
        Standard deviation over that of He initialisation, sqrt(2 / fan_in); default 5.
    share : float
        Fewest share of the layers, default 0.5.
    early : int
        Steps within which a failure is laid to the initialisation, default 3.

    References
    ----------
    .. [1] He et al., "Delving Deep into Rectifiers", ICCV 2015: variance 2 / fan_in.
    .. [2] Glorot and Bengio, AISTATS 2010: variance 2 / (fan_in + fan_out).
    """

    ratio: float = 5.0
    share: float = 0.5
    early: int = 3

    code: ClassVar[str] = "WGT001"
    name: ClassVar[str] = "initialization"
    requires: ClassVar[tuple[str, ...]] = ("checkpoint of step 0",)
    needs_replay: ClassVar[bool] = False

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report the kernels that start too wide."""
        kernels = _observed(scene) or _saved(scene)
        if not kernels:
            yield NotChecked(
                self.code,
                "the weights before the first update were not saved",
                ("checkpoint of step 0",),
                CHECKPOINT_LINE,
            )
            return
        factors = [(name, std * math.sqrt(fan_in / 2.0)) for name, std, fan_in in kernels]
        wide = [(name, factor) for name, factor in factors if factor >= self.ratio]
        if len(wide) <= self.share * len(factors):
            return
        failed = failure(scene.run)
        guilty = failed is not None and failed.axis is StepAxis.BATCH and failed.step <= self.early
        worst = max(factor for _, factor in wide)
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR if guilty else Severity.INFO,
            summary=(
                f"{len(wide)} of {len(factors)} kernels start up to {worst:.3g} times "
                "wider than He initialisation"
            ),
            onset_step=0,
            onset_interval=(0, 0),
            step_axis=StepAxis.BATCH,
            evidence=tuple(
                LayerEvidence(name, 0, factor, self.ratio, "x He standard deviation")
                for name, factor in wide[:12]
            ),
            score=worst,
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """N(0, 1) kernels of width 256; He kernels."""
        wide = tensor("d0/kernel", shape=(256, 256), std=1.0)
        usual = tensor("d0/kernel", shape=(256, 256), std=math.sqrt(2 / 256))
        broken = curve([math.inf, math.nan, math.nan])
        return (
            Example(
                "overflow in the first step",
                logged(broken, checkpoints=[checkpoint(0, wide)]),
                0,
                Severity.ERROR,
            ),
            Example(
                "wide, but it trains",
                logged(curve(falling(30)), checkpoints=[checkpoint(0, wide)]),
                0,
                Severity.INFO,
            ),
            Example("He", logged(broken, checkpoints=[checkpoint(0, usual)])),
        )


def _observed(scene: Scene) -> list[tuple[str, float, int]]:
    """(layer, std, fan in) of the replayed first step of the run."""
    seen = scene.observation
    if seen is None or not seen.first_step_of_run:
        return []
    return [
        (la.name, la.kernel_std, la.fan_in)
        for la in seen.layers
        if la.kernel_std is not None and la.fan_in and la.kind != "Embedding"
        if math.isfinite(la.kernel_std)
    ]


def _saved(scene: Scene) -> list[tuple[str, float, int]]:
    """(variable, std, fan in) of the kernels in a checkpoint of step 0."""
    for saved in scene.run.checkpoint_stats:
        if saved.step == 0:
            return [
                (t.name, t.std, math.prod(t.shape[:-1]))
                for t in saved.tensors
                if t.kind is TensorKind.WEIGHT and len(t.shape) >= 2 and math.isfinite(t.std)
                if not any(word in t.name.lower() for word in _NO_KERNEL)
            ]
    return []
