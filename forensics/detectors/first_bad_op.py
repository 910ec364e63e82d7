"""NUM003: the op that made the first harmful non-finite value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from forensics.detectors.base import Example, not_observed
from forensics.detectors.scenes import origin, replayed, tensor
from forensics.domain.evidence import OpEvidence
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import StepAxis
from forensics.domain.replay import Origin, Phase, ReplayStatus
from forensics.domain.run import TensorKind, TensorStats
from forensics.domain.scene import Scene


@dataclass(frozen=True)
class FirstBadOp:
    """An op of the replayed step turned finite operands into NaN or Inf, and training kept it.

    **Why it is bad.** This is where the repair belongs: everything after it only passes the value
    on.

    **What it says.** One error per independent origin, with its operands. Values that do no harm
    (attention masks, skipped loss-scale steps) are not reported.

    Parameters
    ----------
    shown : int
        Number of origins that are reported, default 4.

    References
    ----------
    .. [1] Li et al., "Reliability Assurance for Deep Neural Network Architectures Against Numerical
       Defects" (RANUM), ICSE 2023: the operator with unsafe operands is the defect.
    """

    shown: int = 4

    code: ClassVar[str] = "NUM003"
    name: ClassVar[str] = "first-bad-op"
    requires: ClassVar[tuple[str, ...]] = ("replay",)
    needs_replay: ClassVar[bool] = True

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report every origin that did harm."""
        replay = scene.replay
        if replay is None or (
            replay.origin is None and replay.status is not ReplayStatus.REPRODUCED
        ):
            yield not_observed(self.code, scene, "the first bad op is not known")
            return
        if replay.origin is None:
            return
        for found in (replay.origin, *replay.other_origins)[: self.shown]:
            step = replay.step
            when = f" at step {step}" if step is not None else ""
            yield Finding(
                code=self.code,
                name=self.name,
                severity=Severity.ERROR,
                summary=f"{describe(found)}{when}",
                onset_step=step,
                onset_interval=None if step is None else (step, step),
                step_axis=StepAxis.BATCH,
                evidence=(
                    OpEvidence(
                        found.op_type or "(input)",
                        found.op_name or (found.input.name if found.input else ""),
                        found.layer,
                        found.phase.value,
                        step,
                        found.raised or operands(found),
                    ),
                ),
            )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Show a division by zero inside a layer; a replay in which nothing went wrong."""
        zero = tensor("sd", TensorKind.OTHER, zero=1, low=0.0)
        found = origin("RealDiv", layer="standardize", inputs=(tensor("x"), zero))
        return (
            Example("0/0 in a layer", replayed(step=9, origin=found), 9, Severity.ERROR),
            Example("nothing non-finite", replayed(step=9)),
        )


def describe(found: Origin) -> str:
    """Say in one phrase which op it is, where, and on what operands."""
    if found.phase is Phase.INPUT:
        name = found.input.name if found.input else "the batch"
        return f"`{name}` already holds NaN or Inf"
    if found.phase is Phase.STATE:
        return f"the state `{found.op_name or 'restored'}` is non-finite before the step"
    where = f" in layer `{found.layer}`" if found.layer else ""
    part = {
        Phase.FORWARD: "forward pass",
        Phase.BACKWARD: "backward pass",
        Phase.LOSS: "loss",
        Phase.OPTIMIZER: "optimizer",
        Phase.METRIC: "metric",
    }[found.phase]
    twin = f" (gradient of {found.forward_op_type})" if found.forward_op_type else ""
    line = f", {found.source.file}:{found.source.line}" if found.source else ""
    does = "raises" if found.raised else "makes the first NaN or Inf"
    return f"`{found.op_type}`{twin}{where} ({part}{line}) {does}"


def operands(found: Origin) -> str:
    """Ranges of the operands, and how many zeros and non-finite values they hold."""
    return "; ".join(_range(t) for t in found.inputs) or "operands not recorded"


def _range(stats: TensorStats) -> str:
    text = f"{stats.name or 'operand'} {stats.dtype} in [{stats.min:.4g}, {stats.max:.4g}]"
    if stats.zero:
        text += f", {stats.zero} zero"
    if stats.bad:
        text += f", {stats.bad} non-finite"
    return text
