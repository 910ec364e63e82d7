"""What the tensors of a bundle are for, how far the run had come, and with which optimizer."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from forensics.domain.run import ReadWarning, TensorKind
from forensics.errors import Damaged
from forensics.sources.checkpoints.bundle_index import BundleIndex
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

_ATTRIBUTES = "/.ATTRIBUTES/"
_PARTS = {"VARIABLE_VALUE": (), "table": ("-keys", "-values"), "ITERATOR": ("_STATE",)}
"""How the tensors of an attribute are called after it; those of other attributes in any way."""


@dataclass(frozen=True, slots=True)
class BundleMeaning:
    """Judges statistics by the object graph, and by names where there is none.

    Parameters
    ----------
    index : BundleIndex
        What the bundle holds.
    graph : bytes or None
        Its serialised object graph; TF1 writes none.
    prefix : str
        What the bundle is called in records.
    """

    index: BundleIndex
    graph: bytes | None
    prefix: str

    def __call__(self, contents: Contents) -> None:
        """Give every tensor its kind, and find counters and settings."""
        judged = self._roles(contents)
        names = {entry.name for entry in self.index.entries}
        for place, stats in enumerate(contents.tensors):
            if stats.kind is not TensorKind.OTHER:
                kind = _kind_by_graph(stats.name, judged)
                kind = kind or kind_by_name(stats.name, names)
                contents.tensors[place] = replace(stats, kind=kind)
        _find_counters(judged, contents)

    def _roles(self, contents: Contents) -> Roles | None:
        if self.graph is None:
            self._say_that_names_tell(contents)
            return None
        single = [e for e in self.index.entries if e.elements == 1 and e.numeric]
        integers = frozenset(e.name for e in single if "int" in e.dtype)
        floats = frozenset(e.name for e in single if "float" in e.dtype)
        try:
            judged = roles(parse_graph(self.graph, f"{self.prefix}.index"), integers, floats)
        except Damaged as error:
            # Its offset is one of the graph, which is no file.
            detail = f"byte {error.offset} of the object graph: {error.detail}"
            contents.lose(f"{self.prefix}.index", error.kind, detail)
            return None
        self._compare_keys(judged, contents)
        return judged

    def _say_that_names_tell(self, contents: Contents) -> None:
        """Say that the graph is missing where the keys are such as only TF2 makes with one."""
        names = {entry.name for entry in self.index.entries}
        lost = GRAPH_KEY not in names and not self.index.partial
        if lost and any(name.endswith(VALUE_SUFFIX) for name in names):
            detail = "these keys come with an object graph and there is none: names tell the kinds"
            path = f"{self.prefix}.index"
            contents.warnings.append(ReadWarning(path, None, "no_object_graph", detail))

    def _compare_keys(self, judged: Roles, contents: Contents) -> None:
        """Record tensors that only the index or only the graph names: no checksum covers both."""
        names = {entry.name for entry in self.index.entries} - {GRAPH_KEY}
        stored = {_attribute(name, judged.kinds) for name in names}
        known = judged.kinds.keys() - {""}
        for name in sorted(stored - known if self.index.partial else stored ^ known):
            where = "index" if name in stored else "object graph"
            detail = f"only the {where} knows {name!r}"
            contents.lose(f"{self.prefix}.index", "key_mismatch", detail)


def _kind_by_graph(name: str, judged: Roles | None) -> TensorKind | None:
    return None if judged is None else judged.kinds.get(_attribute(name, judged.kinds))


def _attribute(key: str, known: Collection[str]) -> str:
    """Key in the object graph of what a tensor is, or is a part of, as of a table or an iterator.

    A key that belongs to nothing that is known is returned as it is.
    """
    if key in known:
        return key
    folder, mark, name = key.rpartition(_ATTRIBUTES)
    for end in range(len(name) - 1, 0, -1):
        owner = folder + mark + name[:end]
        if owner in known:
            parts = _PARTS.get(name[:end])
            return owner if parts is None or name[end:] in parts else key
    return key


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
