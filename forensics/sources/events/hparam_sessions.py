"""Hyperparameters of a file by session, and what they say about the settings of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from forensics.domain.logged import Logged, LoggedKind, LoggedTag
from forensics.domain.run import ReadWarning
from forensics.errors import Damaged
from forensics.sources.events.blob_index import BlobIndex, BlobTag
from forensics.sources.events.hparams import PLUGIN, HParams, decode_hparams
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


def hparam_tags(
    writer: str, path: str, blobs: BlobIndex
) -> tuple[list[LoggedTag], list[ReadWarning]]:
    """Hyperparameters of one file, one row per name."""
    tags: list[LoggedTag] = []
    warnings: list[ReadWarning] = []
    found = []
    for tag, where in _stored(blobs):
        try:
            found.append((tag, where, decode_hparams(where.plugin_content, path)))
        except Damaged as error:
            detail = f"hyperparameters of {tag!r} cannot be read: {error.detail}"
            warnings.append(ReadWarning(path, None, error.kind, detail))
    status = next((h.status for _, _, h in found if h.status is not None), None)
    for tag, where, hparams in found:
        if hparams.values:
            tags.append(_tag(writer, tag, where, hparams, status))
    return tags, warnings


def _stored(blobs: BlobIndex) -> Iterator[tuple[str, BlobTag]]:
    for key, plugin in blobs.plugins():
        if plugin == PLUGIN:
            yield key[0], blobs.tags[key]


def _tag(writer: str, tag: str, where: BlobTag, hparams: HParams, status: str | None) -> LoggedTag:
    count = len(hparams.values)
    columns = {
        "name": list(hparams.values),
        "value": list(hparams.values.values()),
        "group": [hparams.group] * count,
        "status": [status] * count,
    }
    steps, times = np.repeat(where.steps[:1], count), np.repeat(where.wall_times[:1], count)
    return LoggedTag(writer, tag, steps, times, columns)


def logged_settings(logged: Logged) -> tuple[dict[str, Any], tuple[ReadWarning, ...]]:
    """Find the settings of a run that were logged as hyperparameters; and what is broken there."""
    tags, warnings = logged.read(LoggedKind.HPARAMS)
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
