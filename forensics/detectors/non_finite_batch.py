"""DAT001: the batch of the failing step holds NaN or Inf."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from forensics.detectors.base import Example, not_observed
from forensics.detectors.scenes import part, replayed
from forensics.domain.evidence import BatchEvidence
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import StepAxis
from forensics.domain.replay import Phase
from forensics.domain.scene import Scene


@dataclass(frozen=True)
class NonFiniteBatch:
    """Inputs, labels or sample weights of the replayed step hold NaN or Inf.

    **Why it is bad.** One such element is enough: the loss is an average over the batch, so all
    weights become NaN at once.

    **What it says.** The part of the batch and its rows: an error when the localiser found the
    batch to be the origin or no origin is known, a note when the step fails without it just the
    same.

    Parameters
    ----------
    shown : int
        Number of rows that are listed, default 32.

    References
    ----------
    .. [1] Schoop et al., "UMLAUT", CHI 2021: check the inputs for NaN first.
    """

    shown: int = 32

    code: ClassVar[str] = "DAT001"
    name: ClassVar[str] = "non-finite-batch"
    requires: ClassVar[tuple[str, ...]] = ("batch",)
    needs_replay: ClassVar[bool] = True

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report each part that holds a non-finite element."""
        seen = scene.observation
        if seen is None or not seen.batch:
            yield not_observed(self.code, scene, "the batch was not looked at")
            return
        origin = scene.replay.origin if scene.replay is not None else None
        guilty = origin is None or origin.phase is Phase.INPUT or not origin.inputs
        for one in seen.batch:
            if not one.stats.bad:
                continue
            rows = one.bad_rows[: self.shown]
            where = f" in rows {', '.join(map(str, rows))}" if rows else ""
            yield Finding(
                code=self.code,
                name=self.name,
                severity=Severity.ERROR if guilty else Severity.INFO,
                summary=(
                    f"`{one.name}` of the batch of step {seen.step} holds {one.stats.bad} NaN or "
                    f"Inf{where}"
                ),
                onset_step=seen.step,
                onset_interval=(seen.step, seen.step),
                step_axis=StepAxis.BATCH,
                evidence=(
                    BatchEvidence(
                        one.name, seen.step, rows, float(one.stats.bad), 0.0, "non-finite elements"
                    ),
                ),
            )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """NaN in x; a finite batch."""
        return (
            Example(
                "NaN in row 5 of x",
                replayed(step=31, batch=[part("x", nan=1, bad_rows=(5,)), part("y")]),
                31,
                Severity.ERROR,
            ),
            Example("finite batch", replayed(batch=[part("x"), part("y")])),
        )
