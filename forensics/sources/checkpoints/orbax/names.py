"""Orbax checkpoints among the names of files: a folder with what marks one, and what is in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from forensics.sources.checkpoints.orbax.aggregate import AGGREGATE

MARK = "_CHECKPOINT_METADATA"
_MANIFEST, _TREE = "manifest.ocdbt", "_METADATA"
_TEMPORARY = re.compile(r"\.orbax-checkpoint-tmp(-\d+)?$")
_PROCESS = re.compile(r"(^|/)ocdbt\.process_[^/]+$")
_STEP = re.compile(r"^([^\d]*)\d+$")
_ARRAY_MARKS = (".zarray", "zarr.json")


@dataclass(slots=True)
class Found:
    """A checkpoint: its folder, all files in it, and the folders of arrays with theirs."""

    folder: str
    files: list[str] = field(default_factory=list)
    items: dict[str, list[str]] = field(default_factory=dict)

    @property
    def unfinished(self) -> bool:
        """Whether it has the name that a save keeps until it is finished."""
        return _TEMPORARY.search(self.folder) is not None


def find_folders(names: Sequence[str]) -> list[Found]:
    """Checkpoints among names of files; each file is part of one at most.

    A folder of arrays has a tree (``_METADATA``), a database, or, in old ones, a file
    ``checkpoint`` and a zarr array in a folder below it. The checkpoint is the folder around it
    that is marked as one, else the one around it that is named after a step, else it itself.
    """
    known = set(names)
    marked = {_parent(name) for name in names if _last(name) == MARK}
    items = {folder for folder in set(map(_parent, names)) if _is_item(folder, known)}
    items |= _old_items(names, known)
    items = {folder for folder in items if not _within_another(folder, items)}
    roots = {_root(folder, marked) for folder in items} | marked | _temporary(names)
    roots = {folder for folder in roots if not _within_another(folder, roots)}
    found = {folder: Found(folder) for folder in sorted(roots)}
    own = _own_folders(names, items)
    for name in names:
        root = next((f for f in _folders(name) if f in found), None)
        if root is None or (root == "." and not _is_own(name, own)):
            continue
        found[root].files.append(name)
        item = next((f for f in _folders(name) if f in items), None)
        if item is not None:
            found[root].items.setdefault(item, []).append(name)
    return list(found.values())


def _own_folders(names: Iterable[str], items: set[str]) -> set[str]:
    """First parts of what is in a checkpoint that is the place itself, among other things."""
    arrays = {name.partition("/")[0] for name in names if _last(name) in _ARRAY_MARKS}
    return arrays | {folder.partition("/")[0] for folder in items} | {"d", "array_metadatas"}


def _is_own(name: str, own: set[str]) -> bool:
    first, _, rest = name.partition("/")
    if not rest:
        return first in (MARK, _MANIFEST, _TREE, AGGREGATE, "_sharding", "_strings.json") or (
            first.startswith("manifest.")
        )
    return first in own or first.startswith("ocdbt.process_")


def _is_item(folder: str, known: set[str]) -> bool:
    if _PROCESS.search(folder):
        return False
    prefix = "" if folder == "." else f"{folder}/"
    return prefix + _MANIFEST in known or prefix + _TREE in known


def _old_items(names: Iterable[str], known: set[str]) -> set[str]:
    """Folders with a file ``checkpoint`` and zarr arrays below, as Orbax wrote them in 2023."""
    arrays = [_parent(name) for name in names if _last(name) in _ARRAY_MARKS]
    around = {folder for array in arrays for folder in _folders(array)}
    return {f for f in around if (AGGREGATE if f == "." else f"{f}/{AGGREGATE}") in known}


def _root(item: str, marked: set[str]) -> str:
    around = list(_folders(item + "/x"))
    for folder in around:
        if folder in marked:
            return folder
    outer = around[1] if len(around) > 1 else item
    if outer != "." and _STEP.match(_last(outer)) and not _STEP.match(_last(item)):
        return outer
    return item


def _temporary(names: Iterable[str]) -> set[str]:
    return {f for name in names for f in _folders(name) if _TEMPORARY.search(f)}


def _within_another(folder: str, others: set[str]) -> bool:
    return any(outer in others for outer in list(_folders(f"{folder}/x"))[1:])


def _folders(name: str) -> Iterable[str]:
    """Folders around a name, the innermost first; ``.`` is the last."""
    while "/" in name:
        name = name.rpartition("/")[0]
        if name and name != ".":
            yield name
    yield "."


def _parent(name: str) -> str:
    return name.rpartition("/")[0] or "."


def _last(name: str) -> str:
    return name.rpartition("/")[2]
