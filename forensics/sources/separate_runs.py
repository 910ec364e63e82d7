"""Whether a directory holds one training run or several independent ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from forensics.domain.quantity import Fidelity, Quantity
from forensics.domain.run import Series
from forensics.sources.tag_words import TRAIN, VALIDATION, words

_PARTS = (
    TRAIN
    | VALIDATION
    | frozenset({"generator", "discriminator", "critic", "actor", "encoder", "decoder"})
    | frozenset({"teacher", "student", "g", "d", "gen", "disc"})
    | frozenset(
        {"worker", "replica", "rank", "chief", "host", "node", "task", "process", "gpu", "device"}
    )
)
"""Words of directories that belong to one run: its networks, its splits, its workers."""


def separate_runs(
    series: Sequence[Series], checkpoints: Iterable[str], tracked: Iterable[str] = ()
) -> tuple[str, ...]:
    """Names of the independent runs, empty when everything is one run.

    Runs are disjoint directories, side by side, each with a training loss of its own from the
    first step on and checkpoints of its own, or a log that has the same file name in each of them;
    or what a tracker keeps as runs. Anything less is one run with several writers.

    Parameters
    ----------
    series : sequence of Series
        With writers relative to the log directory.
    checkpoints : iterable of str
        Files relative to the log directory.
    tracked : iterable of str
        Directories that a tracker gave to one run each.
    """
    own = _with_loss(series).intersection(tracked)
    if len(own) > 1 and "." not in own:
        return tuple(sorted(own))
    losses = {_parts(s.writer) for s in series if _from_the_start(s)}
    saved = {_parts(path)[:-1] for path in checkpoints}
    return _below((), losses, saved) or _same_logs(series)


def _from_the_start(series: Series) -> bool:
    return (
        series.quantity is Quantity.TRAIN_LOSS and len(series) > 0 and int(series.steps.min()) <= 0
    )


def _parts(path: str) -> tuple[str, ...]:
    return () if path == "." else tuple(path.split("/"))


def _with_loss(series: Iterable[Series]) -> set[str]:
    """Directories with a training loss in them or below."""
    found: set[str] = set()
    for writer in {s.writer for s in series if s.quantity is Quantity.TRAIN_LOSS}:
        parts = _parts(writer)
        found.add(".")
        found.update("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    return found


def _same_logs(series: Iterable[Series]) -> tuple[str, ...]:
    """Directories side by side with a log of the same name, each of a whole training."""
    folders: dict[str, set[PurePosixPath]] = {}
    for s in series:
        if s.fidelity is Fidelity.EVENT or not _from_the_start(s):
            continue
        path = PurePosixPath(s.writer)
        if _is_whole(s.writer):
            folders.setdefault(path.name, set()).add(path.parent)
    for found in folders.values():
        parents = {folder.parent for folder in found}
        apart = len(found) > 1 and len(parents) == 1 and PurePosixPath() not in found
        if apart and not all(_is_part(folder.name) for folder in found):
            return tuple(sorted(str(folder) for folder in found))
    return ()


def _is_whole(writer: str) -> bool:
    """Whether a writer is a file, and no further training or part of one."""
    return not {"#", "["}.intersection(writer)


def _below(
    folder: tuple[str, ...], losses: set[tuple[str, ...]], saved: set[tuple[str, ...]]
) -> tuple[str, ...]:
    level = len(folder)
    children = sorted({path[level] for path in losses if len(path) > level})
    with_checkpoints = {path[: level + 1] for path in saved}
    complete = [name for name in children if (*folder, name) in with_checkpoints]
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
