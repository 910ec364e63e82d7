"""Settings in the graphs and models that were logged, or saved beside checkpoints."""

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
from forensics.sources.graphs.graph_def import (
    graph_of_meta_graph,
    graphs_of_run_metadata,
    read_graphs,
)
from forensics.sources.graphs.settings import settings_of_graphs
from forensics.sources.storage.blob import Blob, NotRegular
from forensics.sources.storage.place import Place
from forensics.sources.storage.tree import natural

KERAS_PLUGIN = "graph_keras_model"
"""Plugin of the value in which Keras's callback writes the configuration of the model."""
TRACE_PLUGINS = ("graph_run_metadata_graph", "graph_run_metadata")
"""Plugins of the values that ``tf.summary.trace_export`` writes: a ``RunMetadata`` with graphs."""
_META = ".meta"
_LARGEST = 32 << 20
"""Bytes of a graph that is still read, in plain Python: some seconds."""

Reader = Callable[[bytes, str], Mapping[str, Any]]


def graph_settings(
    place: Place, files: Iterable[EventFile], names: Iterable[str] = ()
) -> tuple[dict[str, Any], list[ReadWarning]]:
    """Find settings in what event files hold beside scalars, and in graphs beside checkpoints.

    Parameters
    ----------
    place : Place
        Where the files lie.
    files : iterable of EventFile
        As they were read.
    names : iterable of str
        Of all files of the place.

    Returns
    -------
    settings : dict
        As in `settings_of_graphs`; a model that Keras described counts more than a graph.
    warnings : list of ReadWarning
        Of graphs that are broken, or too large.
    """
    found: dict[str, Any] = {}
    warnings: list[ReadWarning] = []
    sought = [(file.input.path, where, read) for file in files for where, read in _sought(file)]
    for path, where, read in [*sought, *_saved(names)]:
        try:
            with place.open(path) as blob:
                told = _read(blob, where, read)
        except Damaged as error:
            warnings.append(ReadWarning(path, error.offset, error.kind, error.detail))
        except (OSError, NotRegular) as error:
            if where is None:
                why = getattr(error, "strerror", None) or type(error).__name__
                warnings.append(ReadWarning(path, None, "denied", f"it cannot be read: {why}"))
        else:
            found.update({key: v for key, v in told.items() if key not in found})
    return found, warnings


def _saved(names: Iterable[str]) -> list[tuple[str, None, Reader]]:
    """Pick the last graph that TensorFlow 1 saved with a checkpoint: a ``MetaGraphDef``."""
    known = set(names)
    graphs = [name for name in known if name.endswith(_META) and _index_of(name) in known]
    return [(max(graphs, key=natural), None, _meta_graph)] if graphs else []


def _index_of(name: str) -> str:
    return name.removesuffix(_META) + ".index"


def _sought(file: EventFile) -> list[tuple[BlobTag, Reader]]:
    """Pick what may tell settings, the best first."""
    tags = file.blobs.tags
    models = [tags[key] for key, plugin in file.blobs.plugins() if plugin == KERAS_PLUGIN]
    graph, meta = tags.get(("", BlobKind.GRAPH)), tags.get(("", BlobKind.META_GRAPH))
    traces = [where for where in tags.values() if where.plugin in TRACE_PLUGINS]
    sought: list[tuple[BlobTag, Reader]] = [(where, _keras_model) for where in models]
    if graph is not None:
        sought.append((graph, _graph))
    elif meta is not None:
        sought.append((meta, _meta_graph))
    sought += [(where, _trace) for where in traces]
    return [(where, read) for where, read in sought if len(where.steps)]


def _read(blob: Blob, where: BlobTag | None, read: Reader) -> Mapping[str, Any]:
    """Read the last value (None: all of the file): graphs are written again as they grow.

    Raises
    ------
    Damaged
        It is broken, with its place in the file; or ``not_read``: it is too large.
    """
    at, size = (0, blob.size) if where is None else (where.offsets[-1], where.lengths[-1])
    at, size = int(at), int(size)
    if size > _LARGEST:
        detail = f"settings were not looked for in a graph of {size} bytes"
        raise Damaged(blob.name, at, "not_read", detail)
    try:
        return read(_bytes(blob, where, at, size), blob.name)
    except Damaged as error:
        raise Damaged(blob.name, at + error.offset, error.kind, error.detail) from None


def _bytes(blob: Blob, where: BlobTag | None, at: int, size: int) -> bytes:
    if where is None:
        return bytes(blob.read(at, size))
    # Of the stream in the file: it may be packed.
    window = next(windows(blob, where.offsets[-1:], where.lengths[-1:]))
    return bytes(window.data[at - window.base : at - window.base + size])


def _graph(data: bytes, path: str) -> Mapping[str, Any]:
    return settings_of_graphs(read_graphs(data, (0, len(data)), path), path)


def _meta_graph(data: bytes, path: str) -> Mapping[str, Any]:
    span = graph_of_meta_graph(data, (0, len(data)), path)
    return {} if span is None else settings_of_graphs(read_graphs(data, span, path), path)


def _trace(data: bytes, path: str) -> Mapping[str, Any]:
    metadata = _string(data, path)
    spans = graphs_of_run_metadata(metadata, (0, len(metadata)), path)
    graphs = [graph for span in spans for graph in read_graphs(metadata, span, path)]
    return settings_of_graphs(graphs, path)


def _string(data: bytes, path: str) -> bytes:
    """Return the one string in a tensor."""
    tensor = decode_tensor(data, path)
    if tensor.dtype != object or tensor.size != 1:
        raise Damaged(path, 0, "bad_tensor", "a graph or a model is not stored as one string")
    return bytes(tensor.reshape(-1)[0])


def _keras_model(data: bytes, path: str) -> Mapping[str, Any]:
    text = _string(data, path)
    try:
        return settings(parse_json(text))
    except (ValueError, TypeError) as error:
        detail = f"the model's configuration cannot be read: {error}"
        raise Damaged(path, 0, "bad_model", detail) from None
