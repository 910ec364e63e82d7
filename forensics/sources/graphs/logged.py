"""Settings in the graphs and models that were logged into event files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from forensics.domain.run import ReadWarning
from forensics.errors import Damaged
from forensics.sources.checkpoints.keras_config import parse_json, settings
from forensics.sources.events.blob_index import BlobKind, BlobTag
from forensics.sources.events.event_file import EventFile
from forensics.sources.events.spans import windows
from forensics.sources.events.tensors import decode_tensor
from forensics.sources.graphs.graph_def import graph_of_meta_graph, read_graphs
from forensics.sources.graphs.settings import settings_of_graphs
from forensics.sources.storage.blob import Blob, NotRegular
from forensics.sources.storage.place import Place

KERAS_PLUGIN = "graph_keras_model"
"""Plugin of the value in which Keras's callback writes the configuration of the model."""
_LARGEST = 32 << 20
"""Bytes of a graph that is still read, in plain Python: some seconds."""

Reader = Callable[[bytes, str], Mapping[str, Any]]


def graph_settings(
    place: Place, files: Iterable[EventFile]
) -> tuple[dict[str, Any], list[ReadWarning]]:
    """Find settings in what event files hold beside scalars.

    Parameters
    ----------
    place : Place
        Where the files lie.
    files : iterable of EventFile
        As they were read.

    Returns
    -------
    settings : dict
        As in `settings_of_graphs`; a model that Keras described counts more than a graph.
    warnings : list of ReadWarning
        Of graphs that are broken, or too large.
    """
    found: dict[str, Any] = {}
    warnings: list[ReadWarning] = []
    for file in files:
        for where, read in _sought(file):
            path = file.input.path
            try:
                with place.open(path) as blob:
                    told = _read(blob, where, read)
            except Damaged as error:
                warnings.append(ReadWarning(path, error.offset, error.kind, error.detail))
            except (OSError, NotRegular):
                continue  # It was read a moment ago, which was recorded.
            else:
                found.update({key: v for key, v in told.items() if key not in found})
    return found, warnings


def _sought(file: EventFile) -> list[tuple[BlobTag, Reader]]:
    """Pick what may tell settings, the best first."""
    tags = file.blobs.tags
    models = [tags[key] for key, plugin in file.blobs.plugins() if plugin == KERAS_PLUGIN]
    graph, meta = tags.get(("", BlobKind.GRAPH)), tags.get(("", BlobKind.META_GRAPH))
    sought: list[tuple[BlobTag, Reader]] = [(where, _keras_model) for where in models]
    if graph is not None:
        sought.append((graph, _graph))
    elif meta is not None:
        sought.append((meta, _meta_graph))
    return [(where, read) for where, read in sought if len(where.steps)]


def _read(blob: Blob, where: BlobTag, read: Reader) -> Mapping[str, Any]:
    """Read the last value: graphs are written again when something was added to them.

    Raises
    ------
    Damaged
        It is broken, with its place in the file; or ``not_read``: it is too large.
    """
    offsets, lengths = where.offsets[-1:], where.lengths[-1:]
    at, size = int(offsets[0]), int(lengths[0])
    if size > _LARGEST:
        detail = f"settings were not looked for in a graph of {size} bytes"
        raise Damaged(blob.name, at, "not_read", detail)
    for window in windows(blob, offsets, lengths):
        start = at - window.base
        try:
            return read(bytes(window.data[start : start + size]), blob.name)
        except Damaged as error:
            raise Damaged(blob.name, at + error.offset, error.kind, error.detail) from None
    return {}


def _graph(data: bytes, path: str) -> Mapping[str, Any]:
    return settings_of_graphs(read_graphs(data, (0, len(data)), path), path)


def _meta_graph(data: bytes, path: str) -> Mapping[str, Any]:
    span = graph_of_meta_graph(data, (0, len(data)), path)
    return {} if span is None else settings_of_graphs(read_graphs(data, span, path), path)


def _keras_model(data: bytes, path: str) -> Mapping[str, Any]:
    tensor = decode_tensor(data, path)
    if tensor.dtype != object or tensor.size != 1:
        raise Damaged(path, 0, "bad_model", "the model's configuration is no text")
    try:
        return settings(parse_json(tensor.reshape(-1)[0]))
    except (ValueError, TypeError) as error:
        detail = f"the model's configuration cannot be read: {error}"
        raise Damaged(path, 0, "bad_model", detail) from None
