"""NUM002: a checkpoint holds NaN or Inf."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from forensics.detectors.base import CHECKPOINT_LINE, Example
from forensics.detectors.curves import state_failure
from forensics.detectors.scenes import checkpoint, curve, falling, logged, tensor
from forensics.domain.evidence import TensorEvidence
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import StepAxis
from forensics.domain.run import CheckpointStats, CheckpointStatus, TensorKind, TensorStats
from forensics.domain.scene import Scene


@dataclass(frozen=True)
class NonFiniteState:
    """A saved weight, optimizer slot or other variable holds NaN or Inf.

    **Why it is bad.** A poisoned checkpoint cannot be resumed from, and it may replace the last
    good one. The loss is a poor witness: a fused ReLU turns NaN into 0 and max-pooling into the
    lowest finite number, so that the loss can stay finite while the weights are lost.

    **What it says.** The first poisoned checkpoint in steps, and which kinds are poisoned: slots
    only means that the optimizer overflowed first and that the weights follow at the next step.

    Parameters
    ----------
    shown : int
        Number of tensors that are given as evidence, default 12.

    References
    ----------
    .. [1] SageMaker Debugger, rule ExplodingTensor: NaN and Inf in any saved tensor.
    """

    shown: int = 12

    code: ClassVar[str] = "NUM002"
    name: ClassVar[str] = "non-finite-state"
    requires: ClassVar[tuple[str, ...]] = ("checkpoints",)
    needs_replay: ClassVar[bool] = False

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report the first poisoned checkpoint, or a poisoned metric as a note."""
        usable = [c for c in scene.run.checkpoint_stats if c.status is not CheckpointStatus.DAMAGED]
        if not usable:
            reason = (
                "all checkpoints are damaged" if scene.run.checkpoint_stats else "no checkpoint"
            )
            yield NotChecked(self.code, reason, ("checkpoints",), CHECKPOINT_LINE)
            return
        poisoned = [c for c in usable if c.status is CheckpointStatus.POISONED]
        if poisoned:
            first = min(poisoned, key=lambda c: (c.step is None, c.step or 0))
            yield self._poisoned(first, scene)
            return
        metric = [c for c in usable if any(t.kind is TensorKind.METRIC for t in c.bad_tensors)]
        if metric:
            yield self._metric(metric[0])

    def _poisoned(self, first: CheckpointStats, scene: Scene) -> Finding:
        bad = [t for t in first.bad_tensors if t.kind is not TensorKind.METRIC]
        kinds = {t.kind for t in bad}
        only = kinds == {TensorKind.SLOT}
        what = f"{len(bad)} of {len(first.tensors)} tensors hold NaN or Inf"
        if only:
            what += ", optimizer slots only: the weights were still finite"
        elif TensorKind.SLOT not in kinds and any(t.kind is TensorKind.SLOT for t in first.tensors):
            what += ", no optimizer slot among them"
        failed = state_failure(scene.run.checkpoint_stats)
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            summary=f"checkpoint `{first.path}`: {what}",
            onset_step=failed.step if failed else None,
            onset_interval=failed.interval if failed else None,
            step_axis=StepAxis.BATCH,
            evidence=tuple(_evidence(first, t) for t in bad[: self.shown]),
        )

    def _metric(self, first: CheckpointStats) -> Finding:
        bad = [t for t in first.bad_tensors if t.kind is TensorKind.METRIC]
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.INFO,
            summary=f"checkpoint `{first.path}`: only metric variables hold NaN or Inf",
            onset_step=None if first.step is None else max(first.step - 1, 0),
            onset_interval=None,
            step_axis=StepAxis.BATCH,
            evidence=tuple(_evidence(first, t) for t in bad[: self.shown]),
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Slots poisoned before weights; a metric; all finite."""
        loss = curve(falling(40))
        slot = tensor("optimizer/v", TensorKind.SLOT, pos_inf=1)
        clean, late = checkpoint(10, tensor("w")), checkpoint(30, tensor("w", nan=4), slot)
        return (
            Example(
                "Inf in a slot between steps 10 and 20",
                logged(loss, checkpoints=[late, checkpoint(20, tensor("w"), slot), clean]),
                19,
                Severity.ERROR,
            ),
            Example(
                "a NaN metric variable is only noted",
                logged(loss, checkpoints=[checkpoint(5, tensor("m", TensorKind.METRIC, nan=1))]),
                4,
                Severity.INFO,
            ),
            Example("finite state", logged(loss, checkpoints=[clean])),
        )


def _evidence(found: CheckpointStats, bad: TensorStats) -> TensorEvidence:
    return TensorEvidence(
        found.path, bad.name, bad.kind, found.step, bad.nan, bad.pos_inf, bad.neg_inf, bad.count
    )
