"""Variables of a SavedModel against the tensors in its bundle: no checksum covers both."""

from __future__ import annotations

from collections.abc import Iterable

from forensics.errors import Damaged
from forensics.sources.checkpoints.bundle_entries import DTYPES
from forensics.sources.checkpoints.bundle_meaning import BundleMeaning
from forensics.sources.checkpoints.contents import Contents
from forensics.sources.checkpoints.object_graph import parse_graph
from forensics.sources.checkpoints.saved_model_file import SavedVariable


def compare_variables(
    variables: Iterable[SavedVariable], bundle: BundleMeaning, path: str, contents: Contents
) -> None:
    """Record tensors whose dtype or shape no variable of their name has.

    Parameters
    ----------
    variables : iterable of SavedVariable
        As the model describes them; several may have one name.
    bundle : BundleMeaning
        What the bundle holds, with its own graph of objects.
    path : str
        The model's file.
    contents : Contents
        Takes the records.
    """
    described: dict[str, set[tuple[str, tuple[int, ...]]]] = {}
    unknown: set[str] = set()
    for variable in variables:
        if variable.shape is None or variable.dtype not in DTYPES:
            unknown.add(variable.name)
        else:
            found = DTYPES[variable.dtype], variable.shape
            described.setdefault(variable.name, set()).add(found)
    entries = {entry.name: entry for entry in bundle.index.entries}
    for key, name in _names(bundle):
        entry = entries.get(key)
        if entry is None or name in unknown or name not in described:
            continue
        if (entry.dtype, entry.shape) not in described[name]:
            detail = f"{name!r} is stored as {entry.dtype} {entry.shape}, the model says otherwise"
            contents.fail(Damaged(path, 0, "shape_mismatch", detail))


def _names(bundle: BundleMeaning) -> list[tuple[str, str]]:
    """Keys of tensors with the full names of their variables."""
    if bundle.graph is None:
        return []
    try:
        nodes = parse_graph(bundle.graph, f"{bundle.prefix}.index")
    except Damaged:
        return []  # Said when it was judged.
    return [(key, full) for node in nodes for _, full, key in node.attributes if full]
