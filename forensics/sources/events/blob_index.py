"""Where in an event file the values lie that are no scalars; they are decoded when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt


class BlobKind(StrEnum):
    """What a value is, by the field it was written in."""

    HISTOGRAM = "histogram"
    """``Summary.Value.histo``, a HistogramProto (TensorFlow 1, PyTorch, tensorboardX)."""
    TENSOR = "tensor"
    """``Summary.Value.tensor`` of any other than one element: histograms, text, images of
    TensorFlow 2; the plugin's name in the metadata says which, in the first value of a tag."""
    IMAGE = "image"
    AUDIO = "audio"
    METADATA = "metadata"
    """A value that has metadata and nothing else, or nothing but an empty tensor: hparams."""
    GRAPH = "graph"
    META_GRAPH = "meta_graph"
    RUN_METADATA = "run_metadata"
    LOG_MESSAGE = "log_message"
    SESSION_LOG = "session_log"


KINDS = tuple(BlobKind)
"""Kinds by the number that stands for them in arrays."""


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
        Audio, SummaryMetadata, SessionLog, LogMessage or TaggedRunMetadata; of the bytes for
        graphs.
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
    """Blobs of one event file by tag; a tag that changes its kind has one entry per kind.

    Kinds that an event holds beside its summary (graphs, session logs, ...) have the tag ``""``.
    """

    tags: Mapping[tuple[str, BlobKind], BlobTag] = field(default_factory=dict)

    def plugins(self) -> Iterator[tuple[tuple[str, BlobKind], str]]:
        """Tag, kind and plugin of those whose plugin is known; nothing is made per value."""
        if isinstance(self.tags, BlobTags):
            yield from self.tags.plugins()
        else:
            yield from ((key, item.plugin) for key, item in self.tags.items() if item.plugin)


class BlobTags(Mapping[tuple[str, BlobKind], BlobTag]):
    """Blobs by tag and kind, their places in arrays for all tags together.

    Parameters
    ----------
    tags : sequence of str
        Of every number that occurs.
    numbers, kinds, steps, wall_times, offsets, lengths : array of shape (n,)
        One row per blob, in the order they were written; kinds are positions in `KINDS`.
    plugins : mapping of int to (str, bytes)
        Plugin and content by the number of the tag.
    """

    def __init__(
        self,
        tags: Sequence[str],
        numbers: npt.NDArray[np.integer],
        kinds: npt.NDArray[np.integer],
        rows: Sequence[npt.NDArray[np.generic]],
        plugins: Mapping[int, tuple[str, bytes]],
    ) -> None:
        keys = numbers.astype(np.int64) * len(KINDS) + kinds
        order = np.argsort(keys, kind="stable")
        distinct, starts = np.unique(keys[order], return_index=True)
        self._bounds = [*starts.tolist(), len(keys)]
        self._rows = [row[order] for row in rows]
        self._numbers = (distinct // len(KINDS)).tolist()
        self._kinds = [KINDS[kind] for kind in (distinct % len(KINDS)).tolist()]
        self._plugins = plugins
        self._at = {
            (tags[number], kind): at
            for at, (number, kind) in enumerate(zip(self._numbers, self._kinds, strict=True))
        }

    def __getitem__(self, key: tuple[str, BlobKind]) -> BlobTag:
        at = self._at[key]
        rows = slice(self._bounds[at], self._bounds[at + 1])
        plugin, content = self._plugins.get(self._numbers[at], ("", b""))
        steps, wall_times, offsets, lengths = (row[rows] for row in self._rows)
        return BlobTag(
            key[1],
            steps.astype(np.int64, copy=False),
            wall_times.astype(np.float64, copy=False),
            offsets.astype(np.int64, copy=False),
            lengths.astype(np.int64, copy=False),
            plugin,
            content,
        )

    def __iter__(self) -> Iterator[tuple[str, BlobKind]]:
        return iter(self._at)

    def __len__(self) -> int:
        return len(self._at)

    def plugins(self) -> Iterator[tuple[tuple[str, BlobKind], str]]:
        """Tag, kind and plugin of those whose plugin is known."""
        if self._plugins:
            for key, at in self._at.items():
                plugin, _ = self._plugins.get(self._numbers[at], ("", b""))
                if plugin:
                    yield key, plugin
