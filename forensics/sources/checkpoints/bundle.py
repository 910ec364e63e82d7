"""Tensor bundles of TensorFlow: an index and data shards, named after a common prefix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from forensics.domain.run import CheckpointFormat
from forensics.errors import Damaged
from forensics.sources.checkpoints.bundle_entries import Entry
from forensics.sources.checkpoints.bundle_gaps import unaccounted
from forensics.sources.checkpoints.bundle_index import BundleIndex, read_index
from forensics.sources.checkpoints.bundle_meaning import BundleMeaning
from forensics.sources.checkpoints.bundle_slices import Slice, Stream, joined
from forensics.sources.checkpoints.bundle_strings import strings, verify_variants
from forensics.sources.checkpoints.bundle_table import is_table_file
from forensics.sources.checkpoints.checkpoint_format import Claim, OpenCheckpoint, Unopened
from forensics.sources.checkpoints.dtypes import numpy_dtype
from forensics.sources.checkpoints.file_pieces import (
    file_pieces,
    read_piece,
    verified_pieces,
    verify,
)
from forensics.sources.checkpoints.object_graph import GRAPH_KEY
from forensics.sources.checkpoints.stored_tensor import StoredTensor
from forensics.sources.checksum import crc32c
from forensics.sources.storage.blob import IN_MEMORY, Blob
from forensics.sources.storage.place import Place

INDEX_KIND, DATA_KIND = "checkpoint_index", "checkpoint_data"
_INDEX = ".index"
_DATA_SHARD = re.compile(r"(.+)\.data-\d{5}-of-\d{5}$", re.DOTALL)


class TensorBundle:
    """A ``.index`` with its ``.data-*`` shards, or either of them alone."""

    def find(self, names: Sequence[str], place: Place) -> Iterable[Claim]:
        """Claim every prefix that has data shards, and every index that is a table."""
        shards: dict[str, list[str]] = {}
        for name in names:
            if match := _DATA_SHARD.match(name):
                shards.setdefault(match[1], []).append(name)
        indexed = {name.removesuffix(_INDEX) for name in names if name.endswith(_INDEX)}
        for prefix in sorted(indexed | shards.keys()):
            if prefix in shards or is_table_file(prefix + _INDEX, place):
                index = [prefix + _INDEX] if prefix in indexed else []
                files = (*index, *shards.get(prefix, ()))
                yield Claim(prefix, CheckpointFormat.TENSOR_BUNDLE, files)

    def fill(self, checkpoint: OpenCheckpoint) -> None:
        """Read the index, open the shards, and list the tensors in them."""
        meaning = list_bundle(checkpoint, checkpoint.claim.name)
        if meaning is not None:
            checkpoint.judge = meaning


def list_bundle(checkpoint: OpenCheckpoint, prefix: str) -> BundleMeaning | None:
    """List the tensors of a bundle that is a checkpoint, or a part of one.

    Returns
    -------
    BundleMeaning or None
        Says what they are for; None where there is no index.
    """
    if prefix + _INDEX not in checkpoint.claim.files:
        detail = "there are data shards and no index: an unfinished save, or a file was lost"
        checkpoint.contents.lose(prefix + _INDEX, "missing_index", detail)
        return None
    index = _read_index(checkpoint, prefix + _INDEX)
    shards = _open_shards(checkpoint, index, prefix)
    checkpoint.parallel = True
    graph = None
    for entry in index.entries:
        slices = index.slices.get(entry.name, ())
        needed = [part.entry for part in slices] if entry.slices else [entry]
        if any(part.shard not in shards for part in needed):
            continue
        if entry.name == GRAPH_KEY:
            graph = _graph(checkpoint, shards[entry.shard], entry)
        elif entry.slices:
            checkpoint.stored.append(_partitioned(entry, slices, shards))
        else:
            checkpoint.stored.append(_whole(entry, shards[entry.shard]))
    return BundleMeaning(index, graph, prefix)


def _read_index(checkpoint: OpenCheckpoint, name: str) -> BundleIndex:
    blob = checkpoint.blob(name, INDEX_KIND)
    if blob.whole is None:
        raise Damaged(name, 0, "limit", f"an index of more than {IN_MEMORY} bytes")
    lost: list[Damaged] = []
    try:
        return read_index(blob.whole, name, lost)
    finally:
        for error in lost:
            checkpoint.contents.fail(error)


def _open_shards(checkpoint: OpenCheckpoint, index: BundleIndex, prefix: str) -> dict[int, Blob]:
    """Shards that tensors lie in, without those that are not there."""
    tensors: dict[int, int] = {}
    for entry in index.stored:
        tensors[entry.shard] = tensors.get(entry.shard, 0) + 1
    found: dict[int, Blob] = {}
    contents = checkpoint.contents
    for shard, count in sorted(tensors.items()):
        name = f"{prefix}.data-{shard:05d}-of-{index.shards:05d}"
        try:
            found[shard] = checkpoint.blob(name, DATA_KIND)
            if not index.partial:
                mine = [entry for entry in index.stored if entry.shard == shard]
                _account(checkpoint, found[shard], mine)
        except Unopened as error:
            if isinstance(error.cause, FileNotFoundError):
                detail = f"this file is missing, and {count} tensors in it"
                contents.lose(name, "missing_shard", detail)
            else:
                contents.refuse(name, DATA_KIND, error.cause)
                contents.damaged = True
    for name in () if index.partial else _idle(checkpoint, prefix):
        try:
            _account(checkpoint, checkpoint.blob(name, DATA_KIND), ())
        except Unopened as error:
            contents.refuse(name, DATA_KIND, error.cause)
    return found


def _idle(checkpoint: OpenCheckpoint, prefix: str) -> list[str]:
    """Shards that no tensor lies in."""
    opened = {blob.name for blob in checkpoint.blobs}
    shards = (n for n in checkpoint.claim.files if (m := _DATA_SHARD.match(n)) and m[1] == prefix)
    return [name for name in shards if name not in opened]


def _account(checkpoint: OpenCheckpoint, blob: Blob, entries: Sequence[Entry]) -> None:
    """Say what no tensor accounts for: a lost entry of the index leaves no other trace."""
    try:
        warning = unaccounted(blob, entries)
    except Damaged as error:
        checkpoint.contents.fail(error)
    else:
        checkpoint.contents.warnings.extend([warning] if warning else [])


def _graph(checkpoint: OpenCheckpoint, blob: Blob, entry: Entry) -> bytes | None:
    """Return the object graph: the only tensor whose content is looked at."""
    try:
        found = strings(blob, entry) if entry.dtype == "string" else []
    except Damaged as error:
        checkpoint.contents.fail(error)
        return None
    return bytes(found[0]) if found else None


def _whole(entry: Entry, blob: Blob) -> StoredTensor:
    def pieces() -> Iterator[memoryview]:
        if entry.dtype == "string":
            strings(blob, entry)
        elif entry.dtype == "variant":
            verify_variants(blob, entry)
        if not entry.numeric:
            return file_pieces(blob, entry.offset, entry.size)
        return verified_pieces(blob, entry.offset, entry.size, entry.crc, entry.name)

    return StoredTensor(entry.name, entry.shape, entry.dtype, pieces)


def _partitioned(entry: Entry, slices: Sequence[Slice], shards: dict[int, Blob]) -> StoredTensor:
    def pieces() -> Iterator[memoryview]:
        if not entry.numeric:
            return chain.from_iterable(
                _whole(part.entry, shards[part.entry.shard]).pieces() for part in slices
            )
        streams = [_stream(part.entry, shards[part.entry.shard]) for part in slices]
        return joined(entry.shape, numpy_dtype(entry.dtype).itemsize, slices, streams)

    return StoredTensor(entry.name, entry.shape, entry.dtype, pieces)


def _stream(entry: Entry, blob: Blob) -> Stream:
    """Bytes of a slice as they are asked for; all of them are there, or none is read."""
    done, crc = 0, 0

    def read(count: int) -> memoryview:
        nonlocal done, crc
        if done == 0:
            blob.read(entry.offset + entry.size, 0)
        data = read_piece(blob, entry.offset + done, count)
        done, crc = done + count, crc32c(data, crc)
        return data

    def finish() -> None:
        verify(blob, entry.offset, entry.size, crc, entry.crc, entry.name)

    return Stream(read, finish)
