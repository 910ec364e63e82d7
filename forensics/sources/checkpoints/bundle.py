"""TF2 tensor bundles: an index and data shards; tensors are verified, only statistics are kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forensics.domain.run import InputState, TensorKind
from forensics.errors import Damaged
from forensics.sources.checkpoints.bundle_entries import BundleIndex, Entry, numpy_dtype, read_index
from forensics.sources.checkpoints.bundle_strings import first_string
from forensics.sources.checkpoints.contents import Contents, single_float, single_integer
from forensics.sources.checkpoints.object_graph import (
    GRAPH_KEY,
    VALUE_SUFFIX,
    Optimizer,
    Roles,
    parse_graph,
    roles,
)
from forensics.sources.checkpoints.optimizers import optimizer_class
from forensics.sources.checkpoints.steps import Counters
from forensics.sources.checkpoints.tensor_names import kind_by_name
from forensics.sources.checkpoints.tensor_stats import TensorSummary, counted_only
from forensics.sources.checksum import crc32c, unmask
from forensics.sources.storage.blob import IN_MEMORY, Blob, NotRegular
from forensics.sources.storage.place import Place

INDEX_KIND, DATA_KIND = "checkpoint_index", "checkpoint_data"
_CHUNK = 1 << 20
"""Bytes of a tensor held at once; a multiple of every element's width."""


@dataclass(slots=True)
class _Tensors:
    """What could be verified: running statistics by name (None: no numbers), and the graph."""

    summaries: dict[str, TensorSummary | None] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    graph: bytes | None = None


def read_bundle(place: Place, prefix: str) -> Contents:
    """Read a tensor bundle.

    Parameters
    ----------
    place : Place
        Where it lies.
    prefix : str
        Its name: path relative to the root, without ``.index``.

    Returns
    -------
    Contents
        ``damaged`` where a shard is missing or anything fails its checks; statistics of the tensors
        that pass them are kept.
    """
    contents = Contents()
    index = _read_index(place, prefix, contents)
    if index is None:
        return contents
    tensors = _Tensors()
    for shard in sorted({entry.shard for entry in _stored(index)}):
        name = f"{prefix}.data-{shard:05d}-of-{index.shards:05d}"
        _read_shard(place, name, index, shard, tensors, contents)
    _finish(index, tensors, prefix, contents)
    return contents


def _stored(index: BundleIndex) -> list[Entry]:
    """Entries that have bytes of their own, in the order of the index."""
    parts = [part for slices in index.slices.values() for part in slices]
    return [entry for entry in index.entries if not entry.slices] + parts


def _read_index(place: Place, prefix: str, contents: Contents) -> BundleIndex | None:
    name = f"{prefix}.index"
    try:
        with place.open(name) as blob:
            try:
                if blob.whole is None:
                    raise Damaged(name, 0, "limit", f"an index of more than {IN_MEMORY} bytes")
                index = read_index(blob.whole, name)
            except Damaged as error:
                contents.fail(error)
                state = InputState.LIMIT if error.kind == "limit" else InputState.DAMAGED
                contents.inputs.append(blob.record(INDEX_KIND, state))
                return None
            contents.inputs.append(blob.record(INDEX_KIND, InputState.COMPLETE))
            return index
    except (OSError, NotRegular) as error:
        contents.refuse(name, INDEX_KIND, error)
        return None


def _read_shard(
    place: Place, name: str, index: BundleIndex, shard: int, tensors: _Tensors, contents: Contents
) -> None:
    mine = [entry for entry in _stored(index) if entry.shard == shard]
    try:
        with place.open(name) as blob:
            state = InputState.COMPLETE
            for entry in sorted(mine, key=lambda e: e.offset):
                try:
                    _read_tensor(blob, entry, tensors)
                except Damaged as error:
                    contents.fail(error)
                    tensors.failed.add(entry.name)
                    state = InputState.DAMAGED
            contents.inputs.append(blob.record(DATA_KIND, state))
    except FileNotFoundError:
        tensors.failed.update(entry.name for entry in mine)
        contents.lose(name, "missing_shard", f"this file is missing, and {len(mine)} tensors in it")
    except (OSError, NotRegular) as error:
        tensors.failed.update(entry.name for entry in mine)
        contents.refuse(name, DATA_KIND, error)
        contents.damaged = True


def _read_tensor(blob: Blob, entry: Entry, tensors: _Tensors) -> None:
    """Verify one tensor, or one slice, and add it to the statistics.

    Raises
    ------
    Damaged
        Its bytes are not there or fail their checksum.
    """
    if not entry.numeric:
        first = first_string(blob, entry)
        tensors.summaries[entry.name] = None
        if entry.name == GRAPH_KEY:
            tensors.graph = first
        return
    dtype = numpy_dtype(entry.dtype)
    summary = tensors.summaries.get(entry.name) or TensorSummary()
    crc = 0
    for start in range(0, entry.size, _CHUNK):
        data = blob.read(entry.offset + start, min(_CHUNK, entry.size - start))
        crc = crc32c(data, crc)
        if start == 0 and len(data) == entry.size:
            _verify(blob, entry, crc)
        summary.add(np.frombuffer(data, dtype))
    _verify(blob, entry, crc)
    tensors.summaries[entry.name] = summary


def _verify(blob: Blob, entry: Entry, crc: int) -> None:
    if crc != unmask(entry.crc):
        raise Damaged(
            blob.name, entry.offset, "crc_mismatch",
            f"the {entry.size} bytes of {entry.name!r} fail their checksum",
        )  # fmt: skip


def _finish(index: BundleIndex, tensors: _Tensors, prefix: str, contents: Contents) -> None:
    """Turn summaries into statistics, now that the graph can say what each tensor is for."""
    judged = _roles(index, tensors, prefix, contents)
    names = {entry.name for entry in index.entries}
    for entry in index.entries:
        if entry.name == GRAPH_KEY or entry.name in tensors.failed:
            continue
        kind = judged.kinds.get(entry.name) if judged else None
        summary = tensors.summaries[entry.name]
        if summary is None:
            other = TensorKind.OTHER
            stats = counted_only(entry.name, other, entry.shape, entry.dtype, entry.elements)
        else:
            kind = kind or kind_by_name(entry.name, names)
            stats = summary.finish(entry.name, kind, entry.shape, entry.dtype)
        contents.tensors.append(stats)
    _find_counters(judged, contents)


def _roles(index: BundleIndex, tensors: _Tensors, prefix: str, contents: Contents) -> Roles | None:
    if tensors.graph is None:
        return None
    single = [e for e in index.entries if e.elements == 1 and e.numeric]
    integers = frozenset(e.name for e in single if "int" in e.dtype)
    floats = frozenset(e.name for e in single if "float" in e.dtype)
    try:
        judged = roles(parse_graph(tensors.graph, f"{prefix}.index"), integers, floats)
    except Damaged as error:
        contents.fail(error)
        return None
    _compare_keys(index, judged, prefix, contents)
    return judged


def _compare_keys(index: BundleIndex, judged: Roles, prefix: str, contents: Contents) -> None:
    """Record variables that only the index or only the graph names: no checksum covers both."""
    stored = {entry.name for entry in index.entries if entry.name.endswith(VALUE_SUFFIX)}
    known = {key for key in judged.kinds if key.endswith(VALUE_SUFFIX)}
    for name in sorted(stored ^ known):
        where = "index" if name in stored else "object graph"
        contents.lose(f"{prefix}.index", "key_mismatch", f"only the {where} knows {name!r}")


def _find_counters(judged: Roles | None, contents: Contents) -> None:
    by_name = {stats.name: stats for stats in contents.tensors}
    if judged is None:
        step = single_integer(by_name.get("global_step"))
        contents.counters = Counters(step=step)
        return
    # A loss-scale optimizer leaves counting to the one that it wraps.
    working = [o for o in judged.optimizers if not o.wraps_another]
    counts = [single_integer(by_name.get(o.iterations or "")) for o in working]
    contents.counters = Counters(
        step=single_integer(by_name.get(judged.step or "")),
        iterations=min((c for c in counts if c is not None), default=None),
        save_counter=single_integer(by_name.get(judged.save_counter or "")),
    )
    if len(working) == 1:
        contents.config = _config(
            working[0], single_float(by_name.get(working[0].learning_rate or ""))
        )


def _config(optimizer: Optimizer, learning_rate: float | None) -> dict[str, Any]:
    found = {"optimizer": optimizer_class(optimizer.name), "learning_rate": learning_rate}
    return {key: value for key, value in found.items() if value is not None}
