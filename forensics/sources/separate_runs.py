"""Whether a directory holds one training run or several independent ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from forensics.domain.quantity import Quantity
from forensics.domain.run import Series
from forensics.sources.tag_words import TRAIN, VALIDATION, words

_PARTS = (
    TRAIN
    | VALIDATION
    | frozenset({"generator", "discriminator", "critic", "actor", "encoder", "decoder"})
    | frozenset({"teacher", "student", "g", "d", "gen", "disc"})
    | frozenset({"worker", "replica", "rank", "chief", "host", "task", "process", "gpu", "device"})
)
"""Words of directories that belong to one run: its networks, its splits, its workers."""


def separate_runs(series: Sequence[Series], checkpoints: Iterable[str]) -> tuple[str, ...]:
    """Names of the independent runs, empty when everything is one run.

    Runs are disjoint directories, side by side, each with a training loss of its own from the
    first step on and checkpoints of its own. Anything less is one run with several writers.

    Parameters
    ----------
    series : sequence of Series
        With writers relative to the log directory.
    checkpoints : iterable of str
        Files relative to the log directory.
    """
    losses = {
        PurePosixPath(s.writer).parts
        for s in series
        if s.quantity is Quantity.TRAIN_LOSS and len(s) and int(s.steps.min()) <= 0
    }
    saved = {PurePosixPath(path).parent.parts for path in checkpoints}
    return _below((), losses, saved)


def _below(
    folder: tuple[str, ...], losses: set[tuple[str, ...]], saved: set[tuple[str, ...]]
) -> tuple[str, ...]:
    level = len(folder)
    children = sorted({path[level] for path in losses if len(path) > level})
    complete = [
        name for name in children if any(path[: level + 1] == (*folder, name) for path in saved)
    ]
    if len(complete) > 1 and not all(_is_part(name) for name in complete):
        return tuple("/".join((*folder, name)) for name in complete)
    for name in complete:
        path = (*folder, name)
        found = _below(path, _inside(path, losses), _inside(path, saved))
        if found:
            return found
    return ()


def _inside(folder: tuple[str, ...], paths: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    return {path for path in paths if path[: len(folder)] == folder}


def _is_part(name: str) -> bool:
    return bool(_PARTS.intersection(words(name)))
