"""What a series measures, whatever its tag was called."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Quantity(StrEnum):
    """Meaning of a logged scalar."""

    TRAIN_LOSS = "train_loss"
    VALIDATION_LOSS = "validation_loss"
    GRADIENT_NORM = "gradient_norm"
    """Norm of the gradients: of all of them (global norm) or, with a layer in the tag, of one."""
    WEIGHT_NORM = "weight_norm"
    UPDATE_RATIO = "update_ratio"
    LEARNING_RATE = "learning_rate"
    LOSS_SCALE = "loss_scale"
    ACTIVATION_MEAN = "activation_mean"
    ACTIVATION_STD = "activation_std"
    ACTIVATION_ZERO_FRACTION = "activation_zero_fraction"
    METRIC = "metric"
    OTHER = "other"


class StepAxis(StrEnum):
    """What a step counts. Epochs are never mixed with batches."""

    BATCH = "batch"
    EPOCH = "epoch"


class Fidelity(IntEnum):
    """How faithfully a series gives what was computed, the most faithful first."""

    EVENT = 0
    """Of an event file."""
    RECORD = 1
    """All digits, kept by another logger (CSV, JSON, a tracker)."""
    PRINTED = 2
    """Rounded to the few digits of a printed line."""
    RUNNING_MEAN = 3
    """Printed, and the mean over the epoch so far: one NaN stays until the epoch's end."""
