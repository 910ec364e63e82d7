"""Decoding of all values of one kind in one file, in one pass over their bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from forensics.domain.logged import COLUMNS, LoggedKind
from forensics.errors import Damaged
from forensics.sources.events import images, session_log
from forensics.sources.events.blob_index import BlobKind
from forensics.sources.events.histogram_batches import (
    Histograms,
    decode_bucket_tensors,
    decode_protos,
)
from forensics.sources.events.histograms import NUMBERS
from forensics.sources.events.kinds import Chosen
from forensics.sources.events.spans import windows
from forensics.sources.events.tensors import decode_tensor
from forensics.sources.events.texts import text_tensor
from forensics.sources.storage.blob import Blob

_NUMBERS: Mapping[str, type[np.generic]] = {
    **dict.fromkeys(("index", "width", "height", "channels", "length_frames"), np.int64),
    "sample_rate": np.float64,
}
"""Columns that hold numbers."""

Positions = npt.NDArray[np.int64]
Row = Mapping[str, Any]
Columns = Mapping[str, Sequence[Any] | npt.NDArray[Any]]


@dataclass(slots=True)
class Decoding:
    """What came of the values chosen.

    Attributes
    ----------
    parts : list of (positions, columns)
        For each of those chosen: which of its values each row comes from, and the columns.
    faults : list of (int, int, Damaged)
        Which of those chosen, which of its values, and what is wrong with it.
    """

    parts: list[tuple[Positions, Columns]] = field(default_factory=list)
    faults: list[tuple[int, int, Damaged]] = field(default_factory=list)


def decode(blob: Blob, chosen: Sequence[Chosen], kind: LoggedKind) -> Decoding:
    """Decode the values chosen, all of one kind, from their file.

    Raises
    ------
    Damaged
        The file does not hold what its index promises. What is wrong with single values is in the
        answer instead.
    """
    offsets = np.concatenate([c.where.offsets for c in chosen])
    lengths = np.concatenate([c.where.lengths for c in chosen])
    firsts = np.cumsum([0, *(len(c.where.offsets) for c in chosen)])
    if kind is LoggedKind.HISTOGRAM:
        return _histograms(blob, chosen, offsets, lengths, firsts)
    return _rows(blob, chosen, kind, offsets, lengths, firsts)


def _histograms(
    blob: Blob,
    chosen: Sequence[Chosen],
    offsets: Positions,
    lengths: Positions,
    firsts: Positions,
) -> Decoding:
    of_tensors = np.array([c.where.kind is BlobKind.TENSOR for c in chosen])
    tensors = np.repeat(of_tensors, np.diff(firsts))
    into = Histograms.room_for(len(offsets))
    for window in windows(blob, offsets, lengths):
        data = np.frombuffer(window.data, np.uint8)
        of_window = tensors[window.spans]
        for spans, decoder in (
            (window.spans[~of_window], decode_protos),
            (window.spans[of_window], decode_bucket_tensors),
        ):
            decoder(data, offsets[spans] - window.base, lengths[spans], spans, into)
    decoding = Decoding()
    for at, error in sorted(into.faults, key=lambda fault: fault[0]):
        item = int(np.searchsorted(firsts, at, side="right")) - 1
        decoding.faults.append((item, at - int(firsts[item]), error))
    sound = np.array([limits is not None for limits in into.limits], bool)
    for item in range(len(chosen)):
        first, last = int(firsts[item]), int(firsts[item + 1])
        places = np.flatnonzero(sound[first:last])
        form = "tensor" if of_tensors[item] else "proto"
        decoding.parts.append((places, _histogram_columns(into, first + places, form)))
    return decoding


def _histogram_columns(into: Histograms, places: Positions, form: str) -> Columns:
    numbers = into.numbers[places]
    return {
        "limits": [into.limits[at] for at in places.tolist()],
        "counts": [into.counts[at] for at in places.tolist()],
        **{name: numbers[:, index] for index, name in enumerate(NUMBERS)},
        "format": [form] * len(places),
    }


def _rows(
    blob: Blob,
    chosen: Sequence[Chosen],
    kind: LoggedKind,
    offsets: Positions,
    lengths: Positions,
    firsts: Positions,
) -> Decoding:
    decoding = Decoding()
    found: list[list[tuple[int, Row]]] = [[] for _ in chosen]
    for window in windows(blob, offsets, lengths):
        for span in window.spans.tolist():
            item = int(np.searchsorted(firsts, span, side="right")) - 1
            at = span - int(firsts[item])
            start = int(offsets[span]) - window.base
            message = bytes(window.data[start : start + int(lengths[span])])
            try:
                rows = _decoded(kind, chosen[item], message)
            except Damaged as error:
                decoding.faults.append((item, at, error))
            else:
                found[item].extend((at, row) for row in rows)
    for numbered in found:
        numbered.sort(key=lambda pair: pair[0])
        places = np.array([at for at, _ in numbered], np.int64)
        columns = {
            name: _column(name, [row[name] for _, row in numbered]) for name in COLUMNS[kind]
        }
        decoding.parts.append((places, columns))
    return decoding


def _column(name: str, values: list[Any]) -> Sequence[Any] | npt.NDArray[Any]:
    dtype = _NUMBERS.get(name)
    return values if dtype is None else np.array(values, dtype)


def _decoded(kind: LoggedKind, chosen: Chosen, message: bytes) -> Sequence[Row]:
    if kind is LoggedKind.TEXT:
        return [{"text": text_tensor(message)}]
    if kind is LoggedKind.TENSOR:
        return [{"plugin": chosen.plugin, "value": decode_tensor(message)}]
    if kind is LoggedKind.GRAPH:
        return _graph(chosen, message)
    decoder = _DECODERS[kind, chosen.where.kind is BlobKind.TENSOR]
    return decoder(message)


_DECODERS: Mapping[tuple[LoggedKind, bool], Callable[[bytes], Sequence[Row]]] = {
    (LoggedKind.IMAGE, False): images.image_message,
    (LoggedKind.IMAGE, True): images.image_tensor,
    (LoggedKind.AUDIO, False): images.audio_message,
    (LoggedKind.AUDIO, True): images.audio_tensor,
    (LoggedKind.SESSION, False): session_log.session_log,
    (LoggedKind.MESSAGE, False): session_log.log_message,
}
"""By kind, and whether the values are tensors."""


def _graph(chosen: Chosen, message: bytes) -> Sequence[Row]:
    kind = chosen.where.kind
    if kind is BlobKind.RUN_METADATA:
        return [{"kind": kind.value, **session_log.run_metadata(message)}]
    if kind is not BlobKind.TENSOR:
        return [{"kind": kind.value, "name": "", "data": message}]
    strings = decode_tensor(message)
    if strings.dtype != object or strings.size > len(message):
        raise Damaged("", 0, "bad_tensor", f"a graph of dtype {strings.dtype}")
    return [{"kind": chosen.plugin, "name": "", "data": data} for data in strings.reshape(-1)]
