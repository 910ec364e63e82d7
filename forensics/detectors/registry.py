"""Every detector, and looking with all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass

from forensics.detectors.base import Detector, not_replayed
from forensics.detectors.data_scale import DataScale
from forensics.detectors.dead_gradients import DeadGradients
from forensics.detectors.dead_units import DeadUnits
from forensics.detectors.diverging_loss import DivergingLoss
from forensics.detectors.exploding_gradients import ExplodingGradients
from forensics.detectors.first_bad_op import FirstBadOp
from forensics.detectors.half_precision import HalfPrecision
from forensics.detectors.implausible_loss import ImplausibleLoss
from forensics.detectors.initialization import Initialization
from forensics.detectors.labels import LabelOutOfRange
from forensics.detectors.loss_mismatch import LossMismatch
from forensics.detectors.loss_spike import LossSpike
from forensics.detectors.non_finite_batch import NonFiniteBatch
from forensics.detectors.non_finite_scalar import NonFiniteScalar
from forensics.detectors.non_finite_state import NonFiniteState
from forensics.detectors.raised_learning_rate import RaisedLearningRate
from forensics.detectors.restarted import Restarted
from forensics.detectors.saturated_units import SaturatedUnits
from forensics.detectors.stalled_loss import StalledLoss
from forensics.detectors.tiny_learning_rate import TinyLearningRate
from forensics.detectors.vanishing_gradients import VanishingGradients
from forensics.domain.findings import Finding, NotChecked
from forensics.domain.scene import Scene

DETECTORS: tuple[Detector, ...] = (
    NonFiniteScalar(),
    NonFiniteState(),
    FirstBadOp(),
    DivergingLoss(),
    StalledLoss(),
    ImplausibleLoss(),
    LossSpike(),
    ExplodingGradients(),
    VanishingGradients(),
    DeadGradients(),
    RaisedLearningRate(),
    TinyLearningRate(),
    NonFiniteBatch(),
    DataScale(),
    LabelOutOfRange(),
    LossMismatch(),
    DeadUnits(),
    SaturatedUnits(),
    Initialization(),
    HalfPrecision(),
    Restarted(),
)
"""In the order of their codes within a family; a file that is missing here fails a test."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the detectors said: findings worst first, and what could not be looked at."""

    findings: tuple[Finding, ...]
    not_checked: tuple[NotChecked, ...]


def inspect(scene: Scene, detectors: Sequence[Detector] = DETECTORS) -> Inspection:
    """Look at a scene with every detector.

    Before a replay those that need one answer ``NotChecked``; after it all are run.
    """
    findings: list[Finding] = []
    not_checked: list[NotChecked] = []
    for detector in detectors:
        if detector.needs_replay and scene.replay is None:
            not_checked.append(not_replayed(detector.code, scene))
            continue
        for answer in detector.detect(scene):
            if isinstance(answer, Finding):
                findings.append(answer)
            else:
                not_checked.append(answer)
    findings.sort(key=lambda f: (f.severity.rank, f.onset_step is None, f.onset_step or 0, f.code))
    return Inspection(tuple(findings), tuple(not_checked))


def limits(detectors: Sequence[Detector] = DETECTORS) -> dict[str, dict[str, float]]:
    """Thresholds in force: ``{code: {name: value}}``."""
    values: dict[str, dict[str, float]] = {}
    for detector in detectors:
        if is_dataclass(detector) and not isinstance(detector, type):
            values[detector.code] = {f.name: getattr(detector, f.name) for f in fields(detector)}
    return values
