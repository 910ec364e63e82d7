"""Orbax checkpoints, of Keras, Flax and others: which files they are, and what is in them.

A checkpoint is a folder, named after its step, with a folder for each tree of arrays; one that was
not finished keeps a temporary name. Chunks of arrays carry no checksum, unlike the nodes of the
database that they may lie in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from forensics.domain.run import CheckpointFormat, InputFile, InputState
from forensics.errors import Damaged
from forensics.sources.checkpoints.checkpoint_format import Claim, OpenCheckpoint, Unopened
from forensics.sources.checkpoints.contents import Contents
from forensics.sources.checkpoints.keras_config import parse_json, settings
from forensics.sources.checkpoints.orbax import zstd
from forensics.sources.checkpoints.orbax.files import Files
from forensics.sources.checkpoints.orbax.item import Item, read_item
from forensics.sources.checkpoints.orbax.meaning import TreeMeaning
from forensics.sources.checkpoints.orbax.names import MARK, Found, find_folders
from forensics.sources.checkpoints.strict_json import parse_object
from forensics.sources.storage.place import Place

KIND = CheckpointFormat.ORBAX.value
_KERAS_CONFIG = "config"
_LISTED = 1_000
"""Files that are recorded one by one: an array may be as many."""
_MAX_JSON = 16 << 20


class Orbax:
    """Folders that Orbax wrote."""

    def find(self, names: Sequence[str], place: Place) -> Iterable[Claim]:
        """Claim every folder with the marks of a checkpoint, and all that is in it."""
        for found in find_folders(names):
            yield Claim(found.folder, CheckpointFormat.ORBAX, tuple(found.files))

    def fill(self, checkpoint: OpenCheckpoint) -> None:
        """Read trees and metadata, and list the arrays."""
        claim, contents = checkpoint.claim, checkpoint.contents
        contents.verifiable = False  # What lies in nodes is verified, chunks elsewhere are not.
        files = Files(checkpoint.place, claim.files)
        checkpoint.stack.callback(files.close)
        found = next(f for f in find_folders(claim.files) if f.folder == claim.name)
        config: dict[str, Any] = {}
        checkpoint.judge = TreeMeaning(config, lambda judged: _record(files, claim.name, judged))
        if found.unfinished:
            detail = "this has the name of a save that is not finished: it was interrupted"
            contents.lose(claim.name, "unfinished_save", detail)
            return
        try:
            _read_mark(files, found, contents)
            for folder, item in _items(files, found):
                checkpoint.stored.extend(item.tensors)
                config.update(_config(item, folder, contents))
                for failure in item.failures:
                    contents.fail(failure)
        except Damaged as error:
            if error.kind != zstd.MISSING:
                raise
            raise Unopened(claim.name, KIND, OSError(0, error.detail)) from error


def _items(files: Files, found: Found) -> Iterable[tuple[str, Item]]:
    """Read the trees; where there are several, names of tensors begin with that of their tree."""
    several = len(found.items) - ("model_config" in {_last(f) for f in found.items}) > 1
    for folder, names in sorted(found.items.items()):
        prefix = f"{_last(folder)}/" if several and folder != found.folder else ""
        yield folder, read_item("" if folder == "." else f"{folder}/", files, names, prefix)


def _read_mark(files: Files, found: Found, contents: Contents) -> None:
    """Read what marks the checkpoint: it says when it was finished."""
    name = MARK if found.folder == "." else f"{found.folder}/{MARK}"
    if name not in files:
        return
    try:
        span = files.span(name)
        if span.size > _MAX_JSON:
            raise Damaged(name, 0, "limit", f"metadata of more than {_MAX_JSON} bytes")
        mark = parse_object(span.read(), name)
    except Damaged as error:
        contents.fail(error)
        return
    if "commit_timestamp_nsecs" in mark and mark["commit_timestamp_nsecs"] is None:
        contents.lose(name, "unfinished_save", "the save was begun and not finished")


def _config(item: Item, folder: str, contents: Contents) -> Mapping[str, Any]:
    """Return settings in the configuration that Keras saves beside its variables."""
    text = item.texts.get(_KERAS_CONFIG)
    if not isinstance(text, str):
        return {}
    try:
        return settings(parse_json(text))
    except ValueError as error:
        contents.lose(folder, "bad_config", f"the configuration cannot be read: {error}")
        return {}


def _record(files: Files, folder: str, contents: Contents) -> None:
    """Record the files that were read: each by itself, the rest of very many as their folder."""
    ordered = sorted(files.used)
    for name in ordered[:_LISTED]:
        contents.inputs.append(files.record(name, KIND, contents.state_of(name)))
    rest = ordered[_LISTED:]
    if rest:
        size = sum(files.used[name] for name in rest)
        states = {contents.state_of(name) for name in rest} - {InputState.COMPLETE}
        state = min(states, default=InputState.COMPLETE)
        contents.inputs.append(InputFile(folder, KIND, size, None, state))


def _last(folder: str) -> str:
    return folder.rpartition("/")[2]
