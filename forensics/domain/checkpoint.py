"""What two checkpoints differ in, and which of a series is the first that is poisoned."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from forensics.domain.run import CheckpointStats, InputFile, ReadWarning, TensorKind

CHECKPOINT_SCHEMA_VERSION = "1.0"


class ChangeKind(StrEnum):
    """What became of a tensor from checkpoint A to checkpoint B."""

    UNCHANGED = "unchanged"
    """Equal to the last bit."""
    CHANGED = "changed"
    ONLY_IN_A = "only_in_a"
    ONLY_IN_B = "only_in_b"
    SHAPE_CHANGED = "shape_changed"
    DTYPE_CHANGED = "dtype_changed"
    """The values were compared all the same, where both are numbers."""
    UNREADABLE = "unreadable"
    """Its bytes are missing or fail their checksum in A or in B."""


@dataclass(frozen=True, slots=True)
class TensorChange:
    """One tensor, matched by name; what does not apply is None.

    Norms are in float64 over the elements that are finite in both; ``update_ratio`` is
    ``difference_norm / norm_a``, None where `norm_a` is 0.
    """

    name: str
    kind: TensorKind
    change: ChangeKind
    shape_a: tuple[int, ...] | None = None
    shape_b: tuple[int, ...] | None = None
    dtype_a: str | None = None
    dtype_b: str | None = None
    norm_a: float | None = None
    difference_norm: float | None = None
    update_ratio: float | None = None
    max_change: float | None = None
    """Largest absolute change of one element."""
    became_bad: int | None = None
    """Elements that are finite in A and are not in B."""


@dataclass(frozen=True, slots=True)
class CheckpointDifference:
    """Checkpoint B after checkpoint A; both with the statistics of every tensor."""

    a: CheckpointStats
    b: CheckpointStats
    tensors: tuple[TensorChange, ...]
    inputs: tuple[InputFile, ...] = ()
    warnings: tuple[ReadWarning, ...] = ()


class SearchMethod(StrEnum):
    """How the first poisoned checkpoint of a series was sought."""

    ALL = "all"
    """Every checkpoint was read."""
    BISECTION = "bisection"
    """Only some were, because reading is remote: poison is assumed to stay once it came."""


@dataclass(frozen=True, slots=True)
class CheckpointSeries:
    """The checkpoints below a root in order of step.

    Parameters
    ----------
    checkpoints : tuple of CheckpointStats
        Those that were read.
    listed : tuple of str
        Paths of all, read or not.
    first_poisoned, last_clean : str or None
        Path of the first that is poisoned, and of the clean one right before it.
    method : SearchMethod
    """

    checkpoints: tuple[CheckpointStats, ...]
    listed: tuple[str, ...]
    first_poisoned: str | None
    last_clean: str | None
    method: SearchMethod
    inputs: tuple[InputFile, ...] = ()
    warnings: tuple[ReadWarning, ...] = ()
