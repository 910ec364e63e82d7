"""What a replay found. Field names are those of the report's ``replay`` object."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from forensics.domain.run import TensorStats

DEBUG_DUMP = "debug_dump"
"""Source of an answer that was read from a dump of the run: nothing was run again."""


class ReplayStatus(StrEnum):
    """Outcome of a replay."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not_reproduced"
    NOT_RUN = "not_run"
    CRASHED = "crashed"


class Phase(StrEnum):
    """Where in a training step an op ran."""

    INPUT = "input"
    FORWARD = "forward"
    LOSS = "loss"
    BACKWARD = "backward"
    OPTIMIZER = "optimizer"
    STATE = "state"
    METRIC = "metric"


class TrialStatus(StrEnum):
    """Outcome of a remedy that was run."""

    FIXED = "fixed"
    DELAYED = "delayed"
    STILL_FAILS = "still_fails"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way of running the failing step; ``mode`` is graph, jit or eager."""

    mode: str
    device: str
    seed: int | None
    outcome: str
    times_reproduced: int
    times_run: int


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of the user's program."""

    file: str
    line: int
    function: str
    code: str


@dataclass(frozen=True, slots=True)
class BadInput:
    """Which part of a batch was bad, and in which rows."""

    name: str
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """The op that made a harmful non-finite value of finite ones (or the input that was one)."""

    op_type: str | None
    op_name: str | None
    output_slot: int | None
    dtype: str | None
    shape: tuple[int, ...] | None
    layer: str | None
    phase: Phase
    input: BadInput | None = None
    raised: str | None = None
    source: SourceLine | None = None
    forward_op_type: str | None = None
    inputs: tuple[TensorStats, ...] = ()
    outputs: tuple[TensorStats, ...] = ()


@dataclass(frozen=True, slots=True)
class BenignOp:
    """An op whose non-finite output does no harm, and why."""

    op_type: str
    op_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class CheckNumerics:
    """What ``tf.debugging.enable_check_numerics`` says about the same step."""

    op_type: str
    op_name: str
    message: str


@dataclass(frozen=True, slots=True)
class Trial:
    """One remedy, run from a state before the failure, against a baseline that fails."""

    remedy: str
    change: str
    status: TrialStatus
    baseline: str
    steps_survived: int | None
    steps_tried: int | None
    loss_before: float | None
    loss_after: float | None
    rows_dropped: int


@dataclass(frozen=True, slots=True)
class Reference:
    """The failing op run again elsewhere: float64 NumPy, another engine, another device.

    ``finite`` is None where that engine gave no answer; ``detail`` says what it answered.
    """

    engine: str
    finite: bool | None
    detail: str


class Blame(StrEnum):
    """Whose bug a non-finite value is."""

    USER = "user"
    FRAMEWORK_DEFECT = "framework_defect"
    HARDWARE_SUSPECTED = "hardware_suspected"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class WhoseBug:
    """Whose bug it is, in words for an issue, and the references that say so."""

    verdict: Blame
    reason: str
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True)
class ScannedBatch:
    """A batch of the scan: its place in the data set, what it gave, its worst rows first."""

    batch: int
    loss: float | None
    gradient_norm: float | None
    non_finite: bool
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ScanResult:
    """Forward and backward over all batches from one state, without updates: worst first.

    ``complete`` is False when the time ended before the data; ``reruns`` counts reshuffled passes
    with updates and ``reproduced`` those that failed.
    """

    started_from: str | None
    batches: int
    complete: bool
    ranked: tuple[ScannedBatch, ...] = ()
    reruns: int = 0
    reproduced: int = 0


@dataclass(frozen=True, slots=True)
class LayerObservation:
    """A layer at the observed step; a quantity that was not measured is None."""

    name: str
    kind: str | None = None
    activation: str | None = None
    gradient_norm: float | None = None
    weight_norm: float | None = None
    update_ratio: float | None = None
    activation_mean: float | None = None
    activation_std: float | None = None
    zero_fraction: float | None = None
    saturated_fraction: float | None = None
    nan: int | None = None
    inf: int | None = None
    activation_max: float | None = None
    kernel_std: float | None = None
    fan_in: int | None = None


@dataclass(frozen=True, slots=True)
class BatchPart:
    """Statistics of one part of the batch (``x``, ``y``, ``sample_weight``, a key, ...).

    ``usual_max_abs`` is the largest finite magnitude of the same part over the batches that were
    trained on just before (None: no other batch was seen); ``column_spread`` the ratio of the
    largest to the smallest column standard deviation of a table; ``bad_rows`` rows with a
    non-finite element; ``max_row`` the row of the largest magnitude.
    """

    name: str
    stats: TensorStats
    integer: bool
    usual_max_abs: float | None = None
    usual_std: float | None = None
    column_spread: float | None = None
    bad_rows: tuple[int, ...] = ()
    max_row: int | None = None


@dataclass(frozen=True, slots=True)
class StepObservation:
    """The observed step: layers, batch, loss. Detectors that need it run after the replay."""

    step: int
    loss: float | None
    layers: tuple[LayerObservation, ...] = ()
    batch: tuple[BatchPart, ...] = ()
    first_step_of_run: bool = False
    """True when no update had been applied before this step."""


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The typed answer of the replay worker."""

    status: ReplayStatus
    reason: str
    device: str | None = None
    step: int | None = None
    started_from: str | None = None
    """Relative path of the checkpoint it started from; None: the state that the case builds."""
    attempts: tuple[Attempt, ...] = ()
    determinism: str = "none"
    unreplayable_ops: tuple[str, ...] = ()
    sandbox: tuple[str, ...] = ()
    origin: Origin | None = None
    other_origins: tuple[Origin, ...] = ()
    benign: tuple[BenignOp, ...] = ()
    chain: tuple[str, ...] = ()
    check_numerics: CheckNumerics | None = None
    samples: tuple[int, ...] = ()
    minimal_batch: tuple[int, ...] = ()
    collective: bool | None = None
    trials: tuple[Trial, ...] = ()
    culprits: tuple[tuple[int, ...], ...] = ()
    """Independent groups of rows: each alone makes the step fail."""
    row_notes: tuple[str, ...] = ()
    """What is to be known about the rows: BatchNorm couples them, only all together fail, ..."""
    whose_bug: WhoseBug | None = None
    scan: ScanResult | None = None
    source: str | None = None
    """What the step was taken from: ``entry_point``, ``recording``, ``keras_file``, ..."""
    instrument: str | None = None
    """Which instrument named the origin: ``own_trace``, ``debug_dump``, ``inlined_graph``,
    ``compiled_ops`` (the trace, with each op's value as XLA or Grappler makes it),
    ``check_numerics`` or ``error_message``."""
    degradations: tuple[str, ...] = ()
    """What the instruments could not do here, and what was done instead."""
    reproducer: str | None = None
    reproducer_script: str | None = None
    """Text of the reproducer, which is in the report although no file was asked for."""
    observation: StepObservation | None = None
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    symptom: str | None = None
    """What made the step a failing one: ``loss``, ``state``, ``raised`` or ``diverged``."""
