"""Hyperparameters of a file by session, and what they say about the settings of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from forensics.domain.logged import Logged, LoggedKind, LoggedTag
from forensics.domain.run import ReadWarning
from forensics.errors import Damaged, InputChanged
from forensics.sources.events.blob_index import BlobIndex, BlobKind, BlobTag
from forensics.sources.events.event_columns import plugin_of
from forensics.sources.events.hparams import PLUGIN, HParams, decode_hparams
from forensics.sources.events.spans import windows
from forensics.sources.storage.blob import Blob
from forensics.sources.tag_words import words

_RATE = frozenset({"lr", "learningrate", "learning_rate", "base_lr", "init_lr", "initial_lr"})
_SETTINGS: Mapping[str, frozenset[str]] = {
    "learning_rate": _RATE | {"initial_learning_rate", "base_learning_rate"},
    "batch_size": frozenset({"batch_size", "batchsize", "train_batch_size", "bs"}),
    "optimizer": frozenset({"optimizer", "optim", "optimizer_name", "opt"}),
    "loss": frozenset({"loss", "loss_fn", "loss_function", "loss_name", "criterion"}),
    "dtype_policy": frozenset({"dtype_policy", "mixed_precision_policy"}),
}
"""Names, in snake case and without the groups before them, by the key of the report's config."""
_TEXTS = ("optimizer", "loss", "dtype_policy")

MOST_WRITTEN = 1000
"""Values of a tag that are read: a loop may log its hyperparameters in every step."""


@dataclass(frozen=True, slots=True)
class Written:
    """Content of the plugin as it was written: of which value of a tag, counted from 0."""

    at: int
    content: bytes


@dataclass(frozen=True, slots=True)
class _Found:
    """What one content says, and where it was written."""

    tag: str
    where: BlobTag
    at: int
    hparams: HParams


def rewritten(blobs: BlobIndex) -> list[tuple[str, BlobTag]]:
    """Hyperparameters that were logged more than once: the index has the first content only."""
    found = _stored(blobs)
    return [(t, w) for t, w in found if w.kind is BlobKind.METADATA and len(w.offsets) > 1]


def contents(blob: Blob, where: BlobTag) -> list[Written]:
    """Every content of a tag whose values are nothing but metadata; `MOST_WRITTEN` at most.

    Raises
    ------
    Damaged
        The file does not hold what its index promises.
    """
    offsets, lengths = where.offsets[:MOST_WRITTEN], where.lengths[:MOST_WRITTEN]
    found = []
    for window in windows(blob, offsets, lengths):
        for at in window.spans.tolist():
            start = int(offsets[at]) - window.base
            name, content = plugin_of(bytes(window.data[start : start + int(lengths[at])]))
            if name == PLUGIN:
                found.append(Written(at, content))
    return found


def hparam_tags(
    writer: str, path: str, blobs: BlobIndex, several: Mapping[str, Sequence[Written]]
) -> tuple[list[LoggedTag], list[ReadWarning]]:
    """Hyperparameters of one file, one row per name; `several` are the contents of `rewritten`."""
    warnings: list[ReadWarning] = []
    found: list[_Found] = []
    for tag, where in _stored(blobs):
        again = several.get(tag) if where.kind is BlobKind.METADATA else None
        for written in again or (Written(0, where.plugin_content),):
            try:
                hparams = decode_hparams(written.content, path)
            except Damaged as error:
                detail = f"hyperparameters of {tag!r} cannot be read: {error.detail}"
                warnings.append(ReadWarning(path, None, error.kind, detail))
            else:
                found.append(_Found(tag, where, written.at, hparams))
        if again and len(where.offsets) > MOST_WRITTEN:
            rest = len(where.offsets) - MOST_WRITTEN
            detail = f"hyperparameters of {tag!r} were written {rest} more times, which is not read"
            warnings.append(ReadWarning(path, None, "limit", detail))
    starts = [item for item in found if item.hparams.values]
    statuses = [item.hparams.status for item in found if item.hparams.status is not None]
    ends = statuses if len(statuses) == len(starts) else statuses[-1:] * len(starts)
    rows: dict[str, LoggedTag] = {}
    for item, status in zip_longest(starts, ends):
        told = (item.tag, item.hparams.values, item.hparams.group, status)
        # The same values again are no news.
        rows.setdefault(repr(told), _tag(writer, item, status))
    return list(rows.values()), warnings


def _stored(blobs: BlobIndex) -> Iterator[tuple[str, BlobTag]]:
    for key, plugin in blobs.plugins():
        if plugin == PLUGIN:
            yield key[0], blobs.tags[key]


def _tag(writer: str, item: _Found, status: str | None) -> LoggedTag:
    values, count = item.hparams.values, len(item.hparams.values)
    columns = {
        "name": list(values),
        "value": list(values.values()),
        "group": [item.hparams.group] * count,
        "status": [status] * count,
    }
    one = slice(item.at, item.at + 1)
    steps = np.repeat(item.where.steps[one], count)
    times = np.repeat(item.where.wall_times[one], count)
    return LoggedTag(writer, item.tag, steps, times, columns)


def logged_settings(logged: Logged) -> tuple[dict[str, Any], tuple[ReadWarning, ...]]:
    """Find the settings of a run that were logged as hyperparameters; and what is broken there."""
    try:
        tags, warnings = logged.read(LoggedKind.HPARAMS)
    except InputChanged as error:
        return {}, (ReadWarning(".", None, "changed", f"no hyperparameters: {error}"),)
    return settings_of(tags), warnings


def settings_of(tags: Iterable[LoggedTag]) -> dict[str, Any]:
    """Find the settings among hyperparameters; what sessions name differently is unknown."""
    found: dict[str, list[Any]] = {}
    for tag in tags:
        for name, value in zip(tag.columns["name"], tag.columns["value"], strict=True):
            key = _setting(name)
            known = None if key is None else _value(key, value)
            if key is not None and known is not None:
                found.setdefault(key, []).append(known)
    return {key: values[0] for key, values in found.items() if len(set(values)) == 1}


def _setting(name: str) -> str | None:
    last = name.replace("\\", "/").replace(".", "/").rsplit("/", 1)[-1].strip()
    plain = "_".join(words(last))
    return next((key for key, names in _SETTINGS.items() if plain in names), None)


def _value(key: str, value: Any) -> Any:
    """Give a value the type its key has in the report; None for what has none."""
    if key in _TEXTS:
        return value if isinstance(value, str) and value else None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, float) or not 0 < value < 1e9:
        return None
    if key == "batch_size":
        return int(value) if value == int(value) else None
    return value


def setting(name: str, value: Any) -> tuple[str, Any] | None:
    """Return key and value of the report's config that a logged hyperparameter is, None for others.

    Examples
    --------
    >>> setting("optimizer/lr", "0.1")
    ('learning_rate', 0.1)
    """
    key = _setting(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    known = None if key is None else _value(key, value)
    return None if key is None or known is None else (key, known)
