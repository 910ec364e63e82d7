"""Checkpoints in safetensors files: one file, or several that are parts of a whole."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from forensics.domain.run import CheckpointFormat, InputState, TensorKind, TensorStats
from forensics.errors import Damaged
from forensics.sources.checkpoints.checkpoint_format import Claim, OpenCheckpoint, Unopened
from forensics.sources.checkpoints.contents import Contents, single_integer
from forensics.sources.checkpoints.safetensors import SUFFIX, Header, read_header
from forensics.sources.checkpoints.steps import Counters
from forensics.sources.checkpoints.strict_json import mapping, parse_object
from forensics.sources.storage.blob import Blob, NotRegular
from forensics.sources.storage.place import Place

KIND = CheckpointFormat.SAFETENSORS.value
INDEX_SUFFIX = ".safetensors.index.json"
_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors$", re.DOTALL)
_MAX_INDEX = 64 << 20
_MAX_PARTS = 10_000
_SLOT = re.compile(r"(^|[./])(exp_avg|exp_avg_sq|max_exp_avg_sq|momentum_buffer|square_avg"
                   r"|grad_avg|acc_delta)$")  # fmt: skip
_COUNTER = re.compile(r"(^|[./])(num_batches_tracked|global_step|step|position_ids)$")
_STEP_KEYS = ("global_step", "step", "ss_steps")


class Safetensors:
    """Files named ``.safetensors``."""

    def find(self, names: Sequence[str], place: Place) -> Iterable[Claim]:
        """Claim parts with the index that lists them, and every other file by itself."""
        known, parts = set(names), _parts(names)
        taken: set[str] = set()
        for name in names:
            if name.lower().endswith(INDEX_SUFFIX):
                whole = name[: -len(INDEX_SUFFIX)] + SUFFIX
                files = (
                    name,
                    *sorted(_listed_beside(name, known, place) | set(parts.get(whole, ()))),
                )
                taken.update(files)
                yield Claim(whole, CheckpointFormat.SAFETENSORS, files)
        for whole, several in sorted(parts.items()):
            if not taken.intersection(several):
                taken.update(several)
                yield Claim(whole, CheckpointFormat.SAFETENSORS, tuple(sorted(several)))
        for name in names:
            if name.lower().endswith(SUFFIX) and name not in taken:
                yield Claim(name, CheckpointFormat.SAFETENSORS, (name,))

    def fill(self, checkpoint: OpenCheckpoint) -> None:
        """Read the headers, and list the tensors of all files."""
        claim, contents = checkpoint.claim, checkpoint.contents
        contents.verifiable = False
        index = next((f for f in claim.files if f.lower().endswith(INDEX_SUFFIX)), None)
        where = {} if index is None else _read_index(checkpoint.blob(index, KIND))
        metadata: dict[str, str] = {}
        found: dict[str, str] = {}
        files = _files(claim, where, index)
        for name in files:
            header = _read_part(checkpoint, name, alone=len(files) == 1)
            if header is None:
                continue
            metadata.update(header.metadata)
            for tensor in header.tensors:
                if tensor.name in found:
                    detail = f"{tensor.name!r} is in {found[tensor.name]!r} too"
                    contents.fail(Damaged(name, 0, "duplicate_tensor", detail))
                    continue
                found[tensor.name] = name
                checkpoint.stored.append(tensor)
        if index is not None:
            _compare(index, where, found, contents)
        checkpoint.parallel = True
        checkpoint.judge = lambda judged: _judge(judged, metadata)


def _parts(names: Sequence[str]) -> dict[str, list[str]]:
    """Files that are named as parts of a whole, by the name that the whole would have."""
    found: dict[str, list[str]] = {}
    for name in names:
        if match := _PART.match(name):
            found.setdefault(match[1] + SUFFIX, []).append(name)
    return found


def _listed_beside(index: str, known: set[str], place: Place) -> set[str]:
    """Files that an index lists and that are there; none where it cannot be read."""
    try:
        with place.open(index) as blob:
            return set(_read_index(blob).values()) & known
    except (Damaged, OSError, NotRegular):
        return set()


def _read_index(blob: Blob) -> dict[str, str]:
    """Read which file each tensor is in; names of files are those in the place.

    Raises
    ------
    Damaged
        It is no index, or leads out of its folder.
    """
    if blob.size > _MAX_INDEX:
        raise Damaged(blob.name, 0, "limit", f"an index of more than {_MAX_INDEX} bytes")
    listed = mapping(parse_object(blob.read(0, blob.size), blob.name).get("weight_map"))
    folder = blob.name[: blob.name.rfind("/") + 1]
    files = set(listed.values()) if all(isinstance(f, str) for f in listed.values()) else {"/"}
    if not files or len(files) > _MAX_PARTS or any("/" in f or "\\" in f for f in files):
        detail = "it lists no files, very many, or files outside of its folder"
        raise Damaged(blob.name, 0, "bad_index", detail)
    return {tensor: folder + file for tensor, file in listed.items()}


def _files(claim: Claim, where: Mapping[str, str], index: str | None) -> list[str]:
    """Files to read: those that are listed, are there, or are missing between their numbers."""
    files = {*where.values(), *(f for f in claim.files if f != index)}
    for name in claim.files:
        if (match := _PART.match(name)) and 0 < int(match[3]) <= _MAX_PARTS:
            total = int(match[3])
            files.update(
                f"{match[1]}-{number:05d}-of-{total:05d}{SUFFIX}" for number in range(1, total + 1)
            )
    return sorted(files)


def _read_part(checkpoint: OpenCheckpoint, name: str, *, alone: bool) -> Header | None:
    """Read one header; what is wrong with one of several files does not end the others."""
    contents = checkpoint.contents
    try:
        header = read_header(checkpoint.blob(name, KIND))
        if header.failure is not None:
            contents.fail(header.failure)
        return header
    except Unopened as error:
        if alone:
            raise
        if isinstance(error.cause, FileNotFoundError):
            contents.lose(name, "missing_shard", "this file is one of several, and is not there")
        else:
            contents.refuse(name, KIND, error.cause)
            contents.damaged = True
    except Damaged as error:
        contents.fail(error)
    return None


def _compare(
    index: str, where: Mapping[str, str], found: Mapping[str, str], contents: Contents
) -> None:
    """Record tensors that only the index or only a file names, or that are elsewhere."""
    for name in sorted(where.keys() | found.keys()):
        if where.get(name) == found.get(name):
            continue
        if name not in found and contents.state_of(where[name]) is not InputState.COMPLETE:
            continue  # Its file is missing or broken, which was said.
        listed, there = where.get(name, "no file"), found.get(name, "none")
        detail = f"{name!r} is in {listed!r} according to the index, and in {there!r}"
        contents.fail(Damaged(index, 0, "key_mismatch", detail))


def _judge(contents: Contents, metadata: Mapping[str, str]) -> None:
    """Say what tensors are for, by their names; and what the metadata tell of the run."""
    contents.tensors[:] = [replace(t, kind=_kind(t)) for t in contents.tensors]
    by_name = {t.name: t for t in contents.tensors}
    step = next((single_integer(by_name.get(key)) for key in _STEP_KEYS if key in by_name), None)
    contents.counters = Counters(step=_step(metadata) if step is None else step)
    contents.config.update(_settings(metadata))


def _kind(stats: TensorStats) -> TensorKind:
    if stats.kind is TensorKind.OTHER or _COUNTER.search(stats.name):
        return TensorKind.OTHER
    return TensorKind.SLOT if _SLOT.search(stats.name) else TensorKind.WEIGHT


def _step(metadata: Mapping[str, str]) -> int | None:
    for key in _STEP_KEYS:
        text = metadata.get(key, "")
        if text.isdecimal() and text.isascii() and len(text) < 12:
            return int(text)
    return None


def _settings(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Find settings that trainers write into the metadata, e.g. kohya's ``ss_learning_rate``."""
    found: dict[str, Any] = {}
    for key, name in (("ss_optimizer", "optimizer"), ("ss_mixed_precision", "dtype_policy")):
        if metadata.get(key) not in (None, "", "None"):
            found[name] = metadata[key]
    rate = metadata.get("ss_learning_rate", metadata.get("learning_rate", ""))
    with contextlib.suppress(ValueError):
        value = float(rate)
        if math.isfinite(value):
            found["learning_rate"] = value
    return found
