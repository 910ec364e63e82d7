"""Which values of an event file are of which kind: by field, and for tensors by plugin.

Only the first value of a tag names its plugin. Where that record was lost, another file may know;
where none does, a tensor stays a tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forensics.domain.logged import LoggedKind
from forensics.sources.events.blob_index import BlobIndex, BlobKind, BlobTag

_BY_FIELD = {
    BlobKind.HISTOGRAM: LoggedKind.HISTOGRAM,
    BlobKind.IMAGE: LoggedKind.IMAGE,
    BlobKind.AUDIO: LoggedKind.AUDIO,
    BlobKind.GRAPH: LoggedKind.GRAPH,
    BlobKind.META_GRAPH: LoggedKind.GRAPH,
    BlobKind.RUN_METADATA: LoggedKind.GRAPH,
    BlobKind.LOG_MESSAGE: LoggedKind.MESSAGE,
    BlobKind.SESSION_LOG: LoggedKind.SESSION,
}
_BY_PLUGIN = {
    "histograms": LoggedKind.HISTOGRAM,
    "text": LoggedKind.TEXT,
    "images": LoggedKind.IMAGE,
    "audio": LoggedKind.AUDIO,
    "hparams": LoggedKind.HPARAMS,
    "graph_run_metadata": LoggedKind.GRAPH,
    "graph_run_metadata_graph": LoggedKind.GRAPH,
    "graph_keras_model": LoggedKind.GRAPH,
}
"""By the ``PLUGIN_NAME`` in ``tensorboard/plugins/*/metadata.py``."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Values of one tag and field, and the plugin they were written for."""

    tag: str
    where: BlobTag
    plugin: str


def choose(blobs: BlobIndex, kind: LoggedKind, plugins: Mapping[str, str]) -> list[Chosen]:
    """Values of a kind.

    Parameters
    ----------
    blobs : BlobIndex
        Of one file.
    kind : LoggedKind
    plugins : mapping of str to str
        Plugins of tags that this file may not name.
    """
    found = []
    for (tag, field), where in blobs.tags.items():
        plugin = where.plugin or plugins.get(tag, "")
        if field is BlobKind.TENSOR:
            own = _BY_PLUGIN.get(plugin, LoggedKind.TENSOR)
        else:
            own = _BY_FIELD.get(field, LoggedKind.HPARAMS)
        if own is kind:
            found.append(Chosen(tag, where, plugin))
    return found
