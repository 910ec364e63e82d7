"""Evidence: the proof that a finding carries. A finding without evidence cannot be constructed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from forensics.domain.quantity import StepAxis
from forensics.domain.run import TensorKind


@dataclass(frozen=True, slots=True)
class CurveEvidence:
    """A stretch of a logged curve.

    ``measured`` against ``limit`` in ``unit`` (e.g. ``x the healthy level``); both may be None for
    a non-finite value, ``first_step`` and ``last_step`` are inclusive.
    """

    type: ClassVar[str] = "curve"
    tag: str
    first_step: int
    last_step: int
    step_axis: StepAxis
    measured: float | None
    limit: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class TensorEvidence:
    """A tensor in a checkpoint."""

    type: ClassVar[str] = "tensor"
    checkpoint: str
    name: str
    kind: TensorKind
    step: int | None
    nan: int
    pos_inf: int
    neg_inf: int
    count: int


@dataclass(frozen=True, slots=True)
class OpEvidence:
    """An op of the replayed step, or of a debug dump, which tells no step of the run."""

    type: ClassVar[str] = "op"
    op_type: str
    op_name: str
    layer: str | None
    phase: str
    step: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class BatchEvidence:
    """The batch of the replayed step."""

    type: ClassVar[str] = "batch"
    input: str
    step: int
    rows: tuple[int, ...]
    measured: float | None
    limit: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class LayerEvidence:
    """A layer at the replayed step."""

    type: ClassVar[str] = "layer"
    layer: str
    step: int
    measured: float | None
    limit: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class ConfigEvidence:
    """A setting of the run."""

    type: ClassVar[str] = "config"
    key: str
    value: str
    expected: str


@dataclass(frozen=True, slots=True)
class FileEvidence:
    """A file."""

    type: ClassVar[str] = "file"
    path: str
    offset: int | None
    detail: str


Evidence = (
    CurveEvidence
    | TensorEvidence
    | OpEvidence
    | BatchEvidence
    | LayerEvidence
    | ConfigEvidence
    | FileEvidence
)
