"""One tree of arrays in an Orbax checkpoint: an OCDBT database, or a folder for each array.

What Orbax writes beside the arrays [1]_: ``_METADATA``, the tree with the type of each leaf; and
``_strings.json``, the leaves that are texts.

References
----------
.. [1] https://orbax.readthedocs.io/en/latest/guides/checkpoint/checkpoint_format.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from forensics.errors import Damaged
from forensics.sources.checkpoints.orbax import zstd
from forensics.sources.checkpoints.orbax.aggregate import AGGREGATE, Aggregate, read_aggregate
from forensics.sources.checkpoints.orbax.chunks import ChunkedArray
from forensics.sources.checkpoints.orbax.files import Files
from forensics.sources.checkpoints.orbax.store import MANIFEST, Databases, Folder, Store, unmerged
from forensics.sources.checkpoints.orbax.zarr_array import (
    METADATA_2,
    METADATA_3,
    ZarrArray,
    read_metadata,
)
from forensics.sources.checkpoints.stored_tensor import StoredTensor
from forensics.sources.checkpoints.strict_json import mapping, parse_object

_T = TypeVar("_T")

TREE, STRINGS = "_METADATA", "_strings.json"
_MAX_JSON = 64 << 20
_ARRAYS = frozenset({"jax.Array", "np.ndarray", "scalar"})
_FREE, _PER_BYTE = 1 << 30, 100
"""Bytes that arrays may take decoded: so many, and so many for each byte that is stored."""


@dataclass(slots=True)
class Item:
    """What a folder of arrays holds.

    Attributes
    ----------
    tensors : list of StoredTensor
        In the order of their names.
    texts : dict
        Leaves that are texts.
    failures : list of Damaged
        What could not be read.
    """

    tensors: list[StoredTensor] = field(default_factory=list)
    texts: Mapping[str, Any] = field(default_factory=dict)
    failures: list[Damaged] = field(default_factory=list)

    def attempt(self, read: Callable[[], _T]) -> _T | None:
        """Return what `read` does; None, and a failure, where it is damaged."""
        try:
            return read()
        except Damaged as error:
            if error.kind == zstd.MISSING:
                raise
            self.failures.append(error)
            return None


@dataclass(frozen=True, slots=True)
class _Tree:
    """Leaves: names by the keys of arrays, which must be there, and whether all chunks are."""

    names: Mapping[str, str] = field(default_factory=dict)
    arrays: frozenset[str] = frozenset()
    all_stored: bool = False

    def name(self, array: str) -> str:
        """Name of an array; its key where the tree does not have it."""
        return self.names.get(array, array)


def read_item(folder: str, files: Files, names: list[str], prefix: str) -> Item:
    """List the arrays of a folder.

    Parameters
    ----------
    folder : str
        Its name with a slash behind it, relative to the place; empty for the place itself.
    files : Files
        Of the checkpoint.
    names : list of str
        Of the files in it.
    prefix : str
        What the names of its tensors begin with.

    Returns
    -------
    Item
        What is broken is among its failures.

    Raises
    ------
    Damaged
        ``missing_package``: what it is compressed with cannot be read here.
    """
    item = Item()
    tree_file, texts_file = folder + TREE, folder + STRINGS
    tree = _Tree()
    aggregate = Aggregate()
    if folder + AGGREGATE in files:
        read = partial(_aggregate, files, folder + AGGREGATE)
        aggregate = item.attempt(read) or aggregate
        tree = _Tree(aggregate.names, frozenset(aggregate.names))
    if tree_file in files:
        tree = item.attempt(lambda: _read_tree(_json(files, tree_file), tree_file)) or tree
    if texts_file in files:
        item.texts = item.attempt(lambda: _json(files, texts_file)) or {}
    store = item.attempt(lambda: _store(folder, files, names, item))
    if store is not None:
        _list_arrays(item, store, tree, prefix, tree_file)
    stored = {tensor.name for tensor in item.tensors}
    inline = (replace(leaf, name=prefix + leaf.name) for leaf in aggregate.tensors)
    item.tensors.extend(leaf for leaf in inline if leaf.name not in stored)
    return item


def _aggregate(files: Files, name: str) -> Aggregate:
    span = files.span(name)
    if span.size > _MAX_JSON:
        raise Damaged(name, 0, "limit", f"a tree of more than {_MAX_JSON} bytes")
    return read_aggregate(bytes(span.read()), name)


def _json(files: Files, name: str) -> dict[str, Any]:
    span = files.span(name)
    if span.size > _MAX_JSON:
        raise Damaged(name, 0, "limit", f"a text of more than {_MAX_JSON} bytes")
    return parse_object(span.read(), name)


def _read_tree(document: Mapping[str, Any], path: str) -> _Tree:
    """Leaves that are arrays: Orbax joins the keys of a leaf by dots to name its array."""
    names: dict[str, str] = {}
    arrays: set[str] = set()
    for leaf in mapping(document.get("tree_metadata")).values():
        described = mapping(mapping(leaf).get("value_metadata"))
        listed = mapping(leaf).get("key_metadata")
        found = [mapping(key).get("key") for key in listed] if isinstance(listed, list) else []
        keys = [key for key in found if isinstance(key, str)]
        if len(keys) != len(found):
            raise Damaged(path, 0, "bad_tree", "a leaf of the tree has no keys")
        names[".".join(keys)] = "/".join(keys)
        if described.get("value_type") in _ARRAYS and not described.get("skip_deserialize"):
            arrays.add(".".join(keys))
    all_stored = document.get("store_array_data_equal_to_fill_value") is True
    return _Tree(names, frozenset(arrays), all_stored)


def _store(folder: str, files: Files, names: list[str], item: Item) -> Store:
    """Find where arrays lie; what the processes wrote stands in for a merged tree that is lost."""
    parts = sorted(unmerged(folder, names))
    if folder + MANIFEST in files:
        try:
            return Databases([folder], files, names)
        except Damaged as error:
            if error.kind == zstd.MISSING or not parts:
                raise
            item.failures.append(error)
    elif parts:
        detail = "what the processes wrote was never merged: the save was not finished"
        item.failures.append(Damaged(folder + MANIFEST, 0, "unfinished_save", detail))
    return Databases(parts, files, names) if parts else Folder(folder, files, names)


def _list_arrays(item: Item, store: Store, tree: _Tree, prefix: str, tree_file: str) -> None:
    arrays: dict[str, tuple[str, ZarrArray]] = {}
    listed: set[str] = set()
    for key in store:
        array, _, last = key.rpartition("/")
        if last in (METADATA_2, METADATA_3):
            found = item.attempt(partial(_metadata, store, key, last))
            listed.add(array)
            if found is not None:
                arrays[array] = (key, found)
    _check_sizes(item, store, arrays)
    for array in sorted(arrays, key=tree.name):
        name = prefix + tree.name(array)
        item.tensors.append(_tensor(store, *arrays[array], name, tree.all_stored))
    for array in sorted(tree.arrays - listed):
        detail = f"the tree lists {tree.names[array]!r}, and there is no such array"
        item.failures.append(Damaged(tree_file, 0, "missing_array", detail))


def _metadata(store: Store, key: str, kind: str) -> ZarrArray:
    span = store.find(key)
    if span is None:
        raise Damaged(store.path(key), 0, "missing_file", "this file is not there")
    array = read_metadata(span.read(), kind, span.path)
    if "zstd" in array.codecs:
        zstd.require(span.path)
    return array


def _check_sizes(item: Item, store: Store, arrays: dict[str, tuple[str, ZarrArray]]) -> None:
    """Leave out arrays that would take far more time than what is stored of them is worth."""
    if sum(array.decoded for _, array in arrays.values()) <= _FREE:
        return
    left = _FREE + _PER_BYTE * store.stored()
    for name, (key, array) in sorted(arrays.items()):
        left -= array.decoded
        if left < 0:
            detail = f"{name!r} would take {array.decoded} bytes, far more than is stored"
            item.failures.append(Damaged(store.path(key), 0, "limit", detail))
            del arrays[name]


def _tensor(store: Store, key: str, array: ZarrArray, name: str, all_stored: bool) -> StoredTensor:
    folder = key[: key.rfind("/") + 1]
    chunked = ChunkedArray(
        array, lambda chunk: store.find(folder + chunk), store.path(key), all_stored=all_stored
    )
    return StoredTensor(name, array.shape, array.dtype, chunked.pieces)
