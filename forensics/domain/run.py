"""What was read of one training run.

Arrays are read-only; NaN and Inf are kept: they are evidence.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forensics.domain.frames import checkpoint_frame, logged_frame, scalar_frame
from forensics.domain.logged import Logged, LoggedKind
from forensics.domain.loss_tags import LossRole, loss_role
from forensics.domain.quantity import Fidelity, Quantity, StepAxis
from forensics.errors import IncompleteTable

if TYPE_CHECKING:
    import pandas as pd

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One tag of one writer.

    Parameters
    ----------
    quantity : Quantity
        What it measures.
    tag : str
        As written in the event file.
    writer : str
        Sub-directory of the log directory (POSIX form, ``.`` for the directory itself).
    step_axis : StepAxis
        Whether steps count batches (0-based after alignment) or epochs.
    steps, values, wall_times : array of shape (n,)
        int64; float64; float64 seconds since the epoch. In the order they were written.
    layer : str or None
        The layer or variable that the tag names, for quantities measured per layer.
    shift : int
        What was subtracted from the logged steps to make them 0-based batch indices.
    fidelity : Fidelity
        How faithfully the values are those that were computed.
    watched : bool
        Whether every step was looked at for NaN and Inf, so that there was none before the first.
    """

    quantity: Quantity
    tag: str
    writer: str
    step_axis: StepAxis
    steps: IntArray
    values: FloatArray
    wall_times: FloatArray
    layer: str | None = None
    shift: int = 0
    fidelity: Fidelity = Fidelity.EVENT
    watched: bool = False

    def __post_init__(self) -> None:
        if not len(self.steps) == len(self.values) == len(self.wall_times):
            raise ValueError("steps, values and wall_times must be of one length")
        for array in (self.steps, self.values, self.wall_times):
            array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def logged_steps(self) -> IntArray:
        """Steps as they were written, before they were aligned."""
        return self.steps + self.shift if self.shift else self.steps


class TensorKind(StrEnum):
    """What a tensor in a checkpoint is for."""

    WEIGHT = "weight"
    SLOT = "slot"
    METRIC = "metric"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class TensorStats:
    """Statistics of one tensor; min, max, mean, std and l2_norm are over its finite elements.

    They are NaN where no element is finite, and for dtypes that are not numeric.
    """

    name: str
    kind: TensorKind
    shape: tuple[int, ...]
    dtype: str
    count: int
    nan: int
    pos_inf: int
    neg_inf: int
    zero: int
    min: float
    max: float
    mean: float
    std: float
    l2_norm: float

    @property
    def bad(self) -> int:
        """Number of non-finite elements."""
        return self.nan + self.pos_inf + self.neg_inf


class CheckpointStatus(StrEnum):
    """State of a checkpoint."""

    CLEAN = "clean"
    POISONED = "poisoned"
    """A weight, slot or other state (not a metric) is non-finite."""
    DAMAGED = "damaged"


class StepSource(StrEnum):
    """Where the step of a checkpoint comes from."""

    VARIABLE = "variable"
    FILE_NAME = "file_name"
    ITERATIONS = "iterations"
    SAVE_COUNTER = "save_counter"


class CheckpointFormat(StrEnum):
    """How a checkpoint is stored."""

    TENSOR_BUNDLE = "tensor_bundle"
    KERAS_ARCHIVE = "keras_archive"
    WEIGHTS_H5 = "weights_h5"
    SAFETENSORS = "safetensors"
    ORBAX = "orbax"
    SAVED_MODEL = "saved_model"
    RECORDED_STATE = "recorded_state"
    """Written by a `FlightRecorder`: exact, random seeds included."""


@dataclass(frozen=True, slots=True)
class CheckpointStats:
    """Statistics of a checkpoint, never its weights.

    ``path`` is relative to the log directory (for a bundle: its prefix, without ``.index``).
    ``step`` is the number of training steps whose result it holds, None when nothing tells.
    """

    path: str
    format: CheckpointFormat
    step: int | None
    step_source: StepSource | None
    tensors: tuple[TensorStats, ...]
    status: CheckpointStatus
    config: dict[str, Any] = field(default_factory=dict)
    verifiable: bool = True
    """Whether its format carries checksums of the values: HDF5 and ``.npy`` do not."""

    @property
    def bad_tensors(self) -> tuple[TensorStats, ...]:
        """Tensors that hold a non-finite element, metrics included."""
        return tuple(t for t in self.tensors if t.bad)


@dataclass(frozen=True, slots=True)
class ReadWarning:
    """A broken input is a record, not an exception: file, offset, what is wrong, what was kept."""

    path: str
    offset: int | None
    kind: str
    detail: str


class InputState(StrEnum):
    """How completely a file was examined."""

    COMPLETE = "complete"
    INCOMPLETE_TAIL = "incomplete_tail"
    DAMAGED = "damaged"
    LIVE = "live"
    DENIED = "denied"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that was read; ``path`` relative to the log directory, ``kind`` e.g. ``events``."""

    path: str
    kind: str
    bytes: int
    sha256: str | None
    state: InputState
    etag: str | None = None
    """What identifies a remote file, which is not hashed."""


@dataclass(frozen=True, slots=True)
class RecordedBatch:
    """A batch that a FlightRecorder kept (path relative to the log directory)."""

    path: str
    step: int


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Everything below one log directory: one training run.

    ``config`` holds what was found about optimizer, learning_rate, loss, activations, dtype_policy,
    batch_size, ... (keys of the report's ``config``).
    """

    name: str
    root: str
    series: tuple[Series, ...]
    checkpoint_stats: tuple[CheckpointStats, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    recordings: tuple[RecordedBatch, ...] = ()
    debug_dumps: tuple[str, ...] = ()
    """Files of debug dumps (tfdbg2), relative to `root`."""
    inputs: tuple[InputFile, ...] = ()
    warnings: tuple[ReadWarning, ...] = ()
    logged: Logged | None = None
    """How to find again what is no scalar; None where nothing else was looked for."""

    def __repr__(self) -> str:
        parts = (
            (len({s.writer for s in self.series}), "writer"),
            (len(self.series), "series"),
            (len(self.checkpoint_stats), "checkpoint"),
            (len(self.warnings), "warning"),
        )
        counted = [f"{n} {what}{'' if n == 1 or what == 'series' else 's'}" for n, what in parts]
        return f"<Run {self.name}: {', '.join(counted)}>"

    def of(self, quantity: Quantity, axis: StepAxis | None = None) -> tuple[Series, ...]:
        """Series of one quantity, longest first; batches before epochs."""
        found = [
            s
            for s in self.series
            if s.quantity is quantity and (axis is None or s.step_axis is axis)
        ]
        return tuple(sorted(found, key=lambda s: (s.step_axis is not StepAxis.BATCH, -len(s))))

    @property
    def train_loss(self) -> Series | None:
        """The series that stands for the training loss, None when none was logged.

        Of an event file if there is one, else of the most faithful log; batches before epochs;
        among several losses (a total and its parts, two networks) the one whose tag tells the most
        of a total and is the shortest.
        """
        return min(
            self._losses,
            key=lambda s: (loss_role(s.tag), _last_length(s.tag), -len(s)),
            default=None,
        )

    @property
    def train_loss_is_part(self) -> bool:
        """Whether `train_loss` is a part of what is minimised, because no total was logged.

        A penalty or one side of a game is a part; any loss with a word of its own is, where
        another one stands beside it.
        """
        loss = self.train_loss
        if loss is None:
            return False
        role = loss_role(loss.tag)
        several = len({s.tag for s in self._losses}) > 1
        return role is LossRole.PART or (several and role is not LossRole.TOTAL)

    @property
    def _losses(self) -> tuple[Series, ...]:
        """Training losses of the best source on one axis, batches if there are any."""
        found = self.of(Quantity.TRAIN_LOSS)
        best = min((_doubt(s) for s in found), default=None)
        found = tuple(s for s in found if _doubt(s) == best)
        return tuple(s for s in found if s.step_axis is found[0].step_axis)

    @property
    def gradient_norm(self) -> Series | None:
        """The global gradient norm, None when none was logged."""
        found = [s for s in self.of(Quantity.GRADIENT_NORM) if s.layer is None]
        return found[0] if found else None

    def scalars(self) -> pd.DataFrame:
        """Every scalar: nothing is downsampled, purged or sorted.

        Returns
        -------
        DataFrame
            ``writer``, ``tag``, ``step`` (as logged), ``wall_time`` (seconds since the epoch),
            ``value``; and what this program makes of them: ``quantity``, ``step_axis``,
            ``fidelity`` (``event`` for event files; the rest was found in other logs) and
            ``aligned_step``, the 0-based batch or epoch.
        """
        return scalar_frame(self.series)

    def histograms(self) -> pd.DataFrame:
        """Every histogram of either format.

        Returns
        -------
        DataFrame
            ``writer``, ``tag``, ``step``, ``wall_time``; ``limits`` and ``counts``, arrays of one
            length, where ``counts[i]`` values lie above ``limits[i - 1]`` and up to ``limits[i]``;
            ``min``, ``max``, ``num``, ``sum``, ``sum_squares`` of all values, NaN where the format
            does not have them; ``format``: ``proto`` (TensorFlow 1, PyTorch, tensorboardX) or
            ``tensor`` (TensorFlow 2).

        Raises
        ------
        InputChanged
            A file is gone, or is not what it was when the run was read.
        """
        return self._logged(LoggedKind.HISTOGRAM)

    def texts(self) -> pd.DataFrame:
        """Every text; ``text`` is a str, or an array of them where a table was written."""
        return self._logged(LoggedKind.TEXT)

    def images(self) -> pd.DataFrame:
        """Every image, encoded (PNG, JPEG, GIF): ``index``, ``width``, ``height``, ``encoded``."""
        return self._logged(LoggedKind.IMAGE)

    def audio(self) -> pd.DataFrame:
        """Every sound, encoded (WAV), with its rate, channels and frames."""
        return self._logged(LoggedKind.AUDIO)

    def tensors(self) -> pd.DataFrame:
        """Every other tensor: ``plugin`` that it was written for, ``value`` as an array."""
        return self._logged(LoggedKind.TENSOR)

    def graphs(self) -> pd.DataFrame:
        """Graphs, Keras models and run metadata as the bytes that were written.

        Returns
        -------
        DataFrame
            ``writer``, ``tag``, ``step``, ``wall_time``; ``kind``: ``graph`` (a GraphDef),
            ``meta_graph``, ``run_metadata``, or the plugin of TensorFlow 2
            (``graph_run_metadata``, ``graph_run_metadata_graph``, ``graph_keras_model``, a JSON);
            ``name`` of run metadata; ``data``.
        """
        return self._logged(LoggedKind.GRAPH)

    def hparams(self) -> pd.DataFrame:
        """Hyperparameters: ``name``, ``value``, and ``group`` and ``status`` of their session."""
        return self._logged(LoggedKind.HPARAMS)

    def sessions(self) -> pd.DataFrame:
        """Every start, stop and checkpoint of a TensorFlow 1 session: nothing is purged by them."""
        return self._logged(LoggedKind.SESSION)

    def messages(self) -> pd.DataFrame:
        """Messages that TensorFlow's old logging events hold."""
        return self._logged(LoggedKind.MESSAGE)

    def _logged(self, kind: LoggedKind) -> pd.DataFrame:
        tags, lost = ((), ()) if self.logged is None else self.logged.read(kind)
        if lost:
            said = f"{lost[0].path}: {lost[0].detail}"
            more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
            warnings.warn(f"{said}{more}", IncompleteTable, stacklevel=3)
        return logged_frame(kind, tags, lost)

    def checkpoints(self) -> pd.DataFrame:
        """Every tensor of every checkpoint with its statistics, never its elements.

        Returns
        -------
        DataFrame
            ``checkpoint`` (path), ``format``, ``step`` (training steps done), ``step_source``,
            ``status``, and what `TensorStats` holds: ``name``, ``kind``, ``shape``, ``dtype``,
            ``count``, ``nan``, ... Of a checkpoint of which no tensor could be read, one row
            without a name.
        """
        return checkpoint_frame(self.checkpoint_stats)


def _doubt(series: Series) -> tuple[bool, Fidelity]:
    """How little a source is trusted: one point of a log is no curve."""
    return series.fidelity is not Fidelity.EVENT and len(series) < 2, series.fidelity


def _last_length(tag: str) -> int:
    return len(tag.replace("\\", "/").split("/")[-1])
