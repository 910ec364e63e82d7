"""The answer: a cause, how it is known, how sure, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How a claim is known, best first."""

    FIX_VERIFIED = "fix_verified"
    REPRODUCED = "reproduced"
    OBSERVED_IN_CHECKPOINT = "observed_in_checkpoint"
    OBSERVED_IN_LOGS = "observed_in_logs"
    INFERRED = "inferred"


class Cause(StrEnum):
    """Vocabulary of causes; the meaning of each is in the catalogue."""

    EXPLODING_GRADIENTS = "exploding_gradients"
    VANISHING_GRADIENTS = "vanishing_gradients"
    LEARNING_RATE_TOO_HIGH = "learning_rate_too_high"
    LEARNING_RATE_TOO_LOW = "learning_rate_too_low"
    UNSTABLE_LOSS = "unstable_loss"
    UNSAFE_OPERATION = "unsafe_operation"
    NON_FINITE_DATA = "non_finite_data"
    DATA_SCALE = "data_scale"
    LABEL_OUT_OF_RANGE = "label_out_of_range"
    BAD_INITIALIZATION = "bad_initialization"
    PRECISION_OVERFLOW = "precision_overflow"
    LOSS_ACTIVATION_MISMATCH = "loss_activation_mismatch"
    DEAD_UNITS = "dead_units"
    SATURATED_ACTIVATIONS = "saturated_activations"
    OPTIMIZER_STATE = "optimizer_state"
    POISONED_START = "poisoned_start"
    RESUME_MISMATCH = "resume_mismatch"
    REPLICA_DIVERGENCE = "replica_divergence"
    HARDWARE_SUSPECTED = "hardware_suspected"
    FRAMEWORK_DEFECT = "framework_defect"
    REGULARIZATION_DOMINATES = "regularization_dominates"
    OVERFITTING = "overfitting"
    PLATEAU = "plateau"
    CORRUPT_EVIDENCE = "corrupt_evidence"
    HEALTHY = "healthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to change: a slug, why it helps, the code, and what the trial said (None: not tried)."""

    remedy: str
    why: str
    snippet: str
    trial: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One cause with what speaks for and against it (codes of findings)."""

    cause: Cause
    confidence: float
    grade: Grade
    summary: str
    supporting: tuple[str, ...]
    contradicting: tuple[str, ...]
    remedies: tuple[Remedy, ...]
    next_check: str | None = None
    confidence_basis: dict[str, object] | None = None
