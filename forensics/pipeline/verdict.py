"""The verdict: status, date, cause and a signature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forensics.domain.diagnosis import Cause, Diagnosis, Grade
from forensics.domain.findings import Finding, Severity
from forensics.domain.quantity import StepAxis
from forensics.domain.replay import Origin, Phase
from forensics.domain.scene import Scene
from forensics.pipeline.dating import Date, date_failure, dumped, reproduced
from forensics.pipeline.headline import headline
from forensics.pipeline.legibility import telling
from forensics.pipeline.target import (
    DIVERGING_LOSS,
    NON_FINITE_SCALAR,
    NON_FINITE_STATE,
    Target,
)

FAILURES = frozenset({NON_FINITE_SCALAR, NON_FINITE_STATE, DIVERGING_LOSS})
"""Codes whose errors mean that training broke down; other errors say why it was not worth much."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict section of the report, field by field."""

    status: str
    headline: str
    first_bad_step: int | None
    first_bad_step_interval: tuple[int, int] | None
    step_axis: StepAxis | None
    first_bad_tag: str | None
    cause: str | None
    confidence: float | None
    grade: Grade | None
    signature: str | None


def judge(
    scene: Scene, findings: Sequence[Finding], diagnoses: Sequence[Diagnosis], target: Target
) -> Verdict:
    """Put findings, replay and diagnosis into one verdict.

    Parameters
    ----------
    scene : Scene
        The run, with the replay's answer if there is one.
    findings : sequence of Finding
        Of the last inspection.
    diagnoses : sequence of Diagnosis
        Most likely first.
    target : Target
        What logs and checkpoints say about the failure.
    """
    status = _status(scene, findings)
    ill = status in ("failed", "suspect")
    date = date_failure(scene.replay, target) if ill else Date()
    first = diagnoses[0] if diagnoses else None
    # "unknown" says that something is wrong, which nobody knows of a run without evidence
    told = None if status == "unreadable" and _is_unknown(first) else first
    return Verdict(
        status=status,
        headline=headline(scene, status, findings, first, date),
        first_bad_step=date.step,
        first_bad_step_interval=date.interval,
        step_axis=date.axis,
        first_bad_tag=date.tag,
        cause=told.cause.value if told else None,
        confidence=told.confidence if told else None,
        grade=told.grade if told else None,
        signature=_signature(scene, status, findings, first) if ill else None,
    )


def _is_unknown(diagnosis: Diagnosis | None) -> bool:
    return diagnosis is not None and diagnosis.cause is Cause.UNKNOWN


def _status(scene: Scene, findings: Sequence[Finding]) -> str:
    failed = any(f.code in FAILURES and f.severity is Severity.ERROR for f in findings)
    if failed or reproduced(scene.replay) or dumped(scene.replay):
        return "failed"
    if any(f.severity is not Severity.INFO for f in findings):
        return "suspect"
    return "healthy" if telling(scene) else "unreadable"


def _signature(
    scene: Scene, status: str, findings: Sequence[Finding], first: Diagnosis | None
) -> str:
    """Return cause, op, layer and codes: equal for equal failures, readable, no hash."""
    origin = scene.replay.origin if scene.replay is not None else None
    worst = Severity.ERROR if status == "failed" else Severity.WARNING
    codes = sorted({f.code for f in findings if f.severity.rank <= worst.rank})
    parts = (
        first.cause.value if first else None,
        _op(origin),
        _plain_layer(origin.layer) if origin is not None and origin.layer else None,
        "+".join(codes),
    )
    return "/".join(part or "-" for part in parts)


def _op(origin: Origin | None) -> str | None:
    if origin is None:
        return None
    if origin.phase is Phase.INPUT:
        return f"input:{origin.input.name}" if origin.input else "input"
    return origin.op_type


def _plain_layer(layer: str) -> str:
    """Return the layer's name without the number Keras appends: dense_3 is dense_7 elsewhere."""
    name = layer.split("/")[-1]
    stem, _, number = name.rpartition("_")
    return stem if stem and number.isdigit() else name
