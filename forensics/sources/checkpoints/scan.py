"""Every checkpoint below a directory, as statistics; what cannot be read is a record of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from forensics.domain.run import (
    CheckpointFormat,
    CheckpointStats,
    CheckpointStatus,
    InputFile,
    InputState,
    ReadWarning,
    TensorKind,
)
from forensics.errors import Damaged
from forensics.sources.checkpoints.bundle import read_bundle
from forensics.sources.checkpoints.bundle_table import FOOTER_BYTES, is_table
from forensics.sources.checkpoints.contents import Contents
from forensics.sources.checkpoints.steps import step_of
from forensics.sources.recording import STATE, is_state
from forensics.sources.storage.blob import Blob, BlobFile, NotRegular
from forensics.sources.storage.place import Place
from forensics.sources.storage.tree import Tree

_DATA_SHARD = re.compile(r"(.+)\.data-\d{5}-of-\d{5}$")
_H5_SUFFIXES = (".h5", ".hdf5")
MAP_SUFFIX = ".weights.json"


@dataclass(frozen=True, slots=True)
class CheckpointScan:
    """Checkpoints ordered by step and path, the files they were read from, what went wrong."""

    checkpoints: tuple[CheckpointStats, ...]
    inputs: tuple[InputFile, ...]
    warnings: tuple[ReadWarning, ...]


@dataclass(slots=True)
class _Found:
    """A checkpoint that was looked at; ``contents`` of a file that is none is dropped."""

    path: str
    format: CheckpointFormat
    contents: Contents
    readable: bool = True


def read_checkpoints(place: Place, tree: Tree | None = None) -> CheckpointScan:
    """Find and read all checkpoints of a place.

    Parameters
    ----------
    place : Place
        Where to look.
    tree : Tree, optional
        What lies there, where it was listed already.

    Returns
    -------
    CheckpointScan
        Of tensor bundles, ``.weights.h5``, ``.keras`` and ``.h5`` models, and recorded states. Bad
        input never raises: it becomes a damaged checkpoint, a warning and the state of an input.
    """
    warnings: list[ReadWarning] = []
    if tree is None:
        tree = place.survey()
        warnings += tree.warnings
    found: list[_Found] = []
    for folder, names in _folders(tree):
        found.extend(_read_folder(place, folder, sorted(names)))
    return _scan(found, warnings)


def read_recorded_states(folder: Place) -> CheckpointScan:
    """Read the states of a recording that lies anywhere; paths are relative to its folder."""
    names = [name for name in folder.survey().files if STATE.fullmatch(name)]
    found = [_single(folder, name, CheckpointFormat.RECORDED_STATE) for name in sorted(names)]
    return _scan(found, [])


def _scan(found: list[_Found], warnings: list[ReadWarning]) -> CheckpointScan:
    checkpoints: list[CheckpointStats] = []
    inputs: list[InputFile] = []
    for item in found:
        item.contents.conclude(item.path)
        inputs.extend(item.contents.inputs)
        warnings.extend(item.contents.warnings)
        if item.readable:
            checkpoints.append(_checkpoint(item))
    checkpoints.sort(key=lambda c: (c.step is None, c.step or 0, c.path))
    inputs.sort(key=lambda i: i.path)
    return CheckpointScan(tuple(checkpoints), tuple(inputs), tuple(warnings))


def _folders(tree: Tree) -> Iterator[tuple[str, list[str]]]:
    """Directories with the names of the files in them."""
    folders: dict[str, list[str]] = {}
    for name in tree.files:
        folder, _, own = name.rpartition("/")
        folders.setdefault(folder, []).append(own)
    yield from sorted(folders.items())


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _read_folder(place: Place, folder: str, names: list[str]) -> Iterator[_Found]:
    sharded = {match[1] for name in names if (match := _DATA_SHARD.match(name))}
    indexed = {name.removesuffix(".index") for name in names if name.endswith(".index")}
    maps = [n for n in names if n.lower().endswith(MAP_SUFFIX)]
    sharded_weights = [_sharded(place, _below(folder, n)) for n in maps]
    yield from (found for found, _ in sharded_weights)
    shards = {shard for _, listed in sharded_weights for shard in listed}
    for name in sorted(set(names) - shards):
        relative = _below(folder, name)
        if name.endswith(".index"):
            prefix = name.removesuffix(".index")
            if prefix in sharded or _is_index(place, relative):
                yield _bundle(place, relative.removesuffix(".index"))
        elif name.lower().endswith(".keras"):
            yield _single(place, relative, CheckpointFormat.KERAS_ARCHIVE)
        elif is_state(relative):
            yield _single(place, relative, CheckpointFormat.RECORDED_STATE)
        elif name.lower().endswith(_H5_SUFFIXES):
            yield _single(place, relative, CheckpointFormat.WEIGHTS_H5)
    for prefix in sorted(sharded - indexed):
        contents = Contents()
        relative = _below(folder, prefix)
        detail = "there are data shards and no index: an unfinished save, or a file was lost"
        contents.lose(f"{relative}.index", "missing_index", detail)
        yield _Found(relative, CheckpointFormat.TENSOR_BUNDLE, contents)


def _sharded(place: Place, name: str) -> tuple[_Found, tuple[str, ...]]:
    """Read weights that were split over several files, and name these."""
    from forensics.sources.checkpoints.keras_shards import KIND, read_shards, shards_of

    found = _Found(name, CheckpointFormat.WEIGHTS_H5, Contents())
    try:
        shards = shards_of(place, name)
    except Damaged as error:
        found.contents.fail(error)
    except (OSError, NotRegular) as error:
        found.readable = False
        found.contents.refuse(name, KIND, error)
    else:
        read_shards(place, name, shards, found.contents)
        return found, shards
    return found, ()


def _is_index(place: Place, name: str) -> bool:
    """Whether a ``.index`` without data shards is a bundle's."""
    try:
        with place.open(name) as blob:
            tail = min(blob.size, FOOTER_BYTES)
            return is_table(blob.read(blob.size - tail, tail))
    except (OSError, NotRegular, Damaged):
        return False


def _bundle(place: Place, prefix: str) -> _Found:
    contents = read_bundle(place, prefix)
    denied = any(
        i.path.endswith(".index") and i.state is InputState.DENIED for i in contents.inputs
    )
    return _Found(prefix, CheckpointFormat.TENSOR_BUNDLE, contents, readable=not denied)


def _single(place: Place, name: str, kind: CheckpointFormat) -> _Found:
    """Read a checkpoint that is one file."""
    from forensics.sources.checkpoints.keras_archive import read_archive
    from forensics.sources.checkpoints.recorded_state import read_state

    found = _Found(name, kind, Contents())
    try:
        with place.open(name) as blob:
            try:
                if kind is CheckpointFormat.KERAS_ARCHIVE:
                    read_archive(blob, found.contents)
                elif kind is CheckpointFormat.RECORDED_STATE:
                    read_state(blob, found.contents)
                else:
                    found.readable = _read_weights(blob, found.contents)
            except Damaged as error:
                found.contents.fail(error)
            if found.readable:
                state = _state(found.contents)
                found.contents.inputs.append(blob.record(kind.value, state))
    except (OSError, NotRegular) as error:
        found.readable = False
        found.contents.refuse(name, kind.value, error)
    return found


def _read_weights(blob: Blob, contents: Contents) -> bool:
    """Read an HDF5 file; whether it is a checkpoint at all."""
    from forensics.sources.checkpoints.hdf5 import read_h5
    from forensics.sources.checkpoints.keras_weights import add_weights, is_keras_weights

    whole = blob.whole
    source = BlobFile(blob, 0, blob.size) if whole is None else whole
    content = read_h5(source, blob.name)
    if not (blob.name.lower().endswith(".weights.h5") or is_keras_weights(content)):
        return False
    add_weights(content, contents)
    return True


def _state(contents: Contents) -> InputState:
    if any(warning.kind == "limit" for warning in contents.warnings):
        return InputState.LIMIT
    return InputState.DAMAGED if contents.damaged else InputState.COMPLETE


def _checkpoint(found: _Found) -> CheckpointStats:
    contents = found.contents
    step, source = step_of(found.path, contents.counters)
    if contents.damaged:
        status = CheckpointStatus.DAMAGED
    elif any(t.bad and t.kind is not TensorKind.METRIC for t in contents.tensors):
        status = CheckpointStatus.POISONED
    else:
        status = CheckpointStatus.CLEAN
    return CheckpointStats(
        path=found.path,
        format=found.format,
        step=step,
        step_source=source,
        tensors=tuple(contents.tensors),
        status=status,
        config=contents.config,
    )
