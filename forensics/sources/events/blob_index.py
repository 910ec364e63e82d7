"""Where in an event file the values lie that are no scalars; they are decoded when asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt


class BlobKind(StrEnum):
    """What a value is, by the field it was written in."""

    HISTOGRAM = "histogram"
    """``Summary.Value.histo``, a HistogramProto (TensorFlow 1, PyTorch, tensorboardX)."""
    TENSOR = "tensor"
    """``Summary.Value.tensor`` of any other than one element: histograms, text, images, hparams of
    TensorFlow 2; the plugin's name in the metadata says which, in the first value of a tag."""
    IMAGE = "image"
    AUDIO = "audio"
    GRAPH = "graph"
    META_GRAPH = "meta_graph"
    RUN_METADATA = "run_metadata"
    LOG_MESSAGE = "log_message"
    SESSION_LOG = "session_log"


@dataclass(frozen=True, slots=True)
class BlobTag:
    """Values of one tag and kind, in the order they were written.

    Parameters
    ----------
    kind : BlobKind
    steps, wall_times : array of shape (n,)
        int64; float64 seconds since the epoch.
    offsets, lengths : array of int64, shape (n,)
        Bytes of the message in the (unpacked) stream: of the TensorProto, HistogramProto, Image,
        Audio, SessionLog or LogMessage; of the bytes for graphs.
    plugin : str
        Plugin named by the first metadata of the tag, empty where there was none.
    plugin_content : bytes
        Content of that metadata (e.g. an HParamsPluginData).
    """

    kind: BlobKind
    steps: npt.NDArray[np.int64]
    wall_times: npt.NDArray[np.float64]
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    plugin: str = ""
    plugin_content: bytes = b""


@dataclass(frozen=True, slots=True)
class BlobIndex:
    """Blobs of one event file by tag; a tag that changes its kind has one entry per kind."""

    tags: dict[tuple[str, BlobKind], BlobTag] = field(default_factory=dict)
