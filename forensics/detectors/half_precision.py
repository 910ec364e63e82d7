"""PRC001: a value left the range or the resolution of a 16-bit float."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forensics.detectors.base import CONFIG_LINE, Example
from forensics.detectors.curves import curve_evidence
from forensics.detectors.scenes import curve, falling, logged, origin, replayed
from forensics.detectors.settings import Settings
from forensics.domain.evidence import OpEvidence
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.replay import Origin
from forensics.domain.scene import Scene

HALF_TYPES = frozenset({"float16", "half", "bfloat16"})


@dataclass(frozen=True)
class HalfPrecision:
    """The first bad op computes in float16 or bfloat16, or the loss scale collapsed.

    **Why it is bad.** float16 ends at 65504 and cannot tell 1 - 1e-7 from 1, so that sums, squares
    and a clipped ``log(1 - p)`` fail where float32 would not. bfloat16 has the range of float32 but
    only 8 bits of it.

    **What it says.** An error when the origin of the failure is an op on 16-bit operands. A warning
    when the loss scale fell below `scale`: then gradients overflow even unscaled.

    Parameters
    ----------
    scale : float
        Loss scale below which no range is left, dimensionless; default 1.

    References
    ----------
    .. [1] Micikevicius et al., "Mixed Precision Training", ICLR 2018.
    .. [2] IEEE 754-2019, binary16: largest finite number 65504, epsilon 2**-10.
    """

    scale: float = 1.0

    code: ClassVar[str] = "PRC001"
    name: ClassVar[str] = "half-precision"
    requires: ClassVar[tuple[str, ...]] = ("dtype_policy",)
    needs_replay: ClassVar[bool] = False

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report a 16-bit origin, else a loss scale that collapsed."""
        found = scene.replay.origin if scene.replay is not None else None
        if scene.replay is not None and found is not None and is_half(found):
            step = scene.replay.step or 0
            yield Finding(
                code=self.code,
                name=self.name,
                severity=Severity.ERROR,
                summary=f"`{found.op_type}` fails in {found.dtype} at step {step}",
                onset_step=step,
                onset_interval=(step, step),
                step_axis=StepAxis.BATCH,
                evidence=(
                    OpEvidence(
                        found.op_type or "", found.op_name or "", found.layer, found.phase.value,
                        step, f"dtype {found.dtype}",
                    ),
                ),
            )  # fmt: skip
            return
        yield from self._scale(scene)
        if scene.replay is None and Settings.of(scene).dtype_policy is None:
            yield NotChecked(
                self.code, "the precision is not recorded", ("dtype_policy",), CONFIG_LINE
            )

    def _scale(self, scene: Scene) -> Iterator[Finding]:
        for series in scene.run.of(Quantity.LOSS_SCALE):
            low = np.flatnonzero(series.values < self.scale)
            if len(low):
                index = int(low[0])
                yield Finding(
                    code=self.code,
                    name=self.name,
                    severity=Severity.WARNING,
                    summary=f"the loss scale falls to {float(np.min(series.values)):.3g}",
                    onset_step=int(series.steps[index]),
                    onset_interval=(int(series.steps[max(index - 1, 0)]), int(series.steps[index])),
                    step_axis=series.step_axis,
                    evidence=(
                        curve_evidence(
                            series, index, len(series) - 1, float(series.values[index]), self.scale,
                            "loss scale",
                        ),
                    ),
                )  # fmt: skip
                return

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Show an overflow in float16; a scale that collapses; one that settles."""
        half = origin("MatMul", dtype="float16", layer="fc")
        loss = curve(falling(4))
        scale = Quantity.LOSS_SCALE
        return (
            Example("MatMul in float16", replayed(step=14, origin=half), 14, Severity.ERROR),
            Example(
                "the scale collapses",
                logged(loss, curve([4.0, 2.0, 1.0, 0.5], scale)),
                3,
                Severity.WARNING,
            ),
            Example(
                "the scale settles",
                logged(
                    loss,
                    curve([32768.0, 4096.0, 2048.0, 2048.0], scale),
                    config={"dtype_policy": "mixed_float16"},
                ),
            ),
        )


def is_half(found: Origin) -> bool:
    """Whether an op computes on, or answers in, a 16-bit float."""
    return found.dtype in HALF_TYPES or any(t.dtype in HALF_TYPES for t in found.inputs)
