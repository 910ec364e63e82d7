"""From a log directory, or one event file, to a `Run`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forensics.domain.quantity import Quantity
from forensics.domain.run import InputFile, InputState, ReadWarning, Run, Series
from forensics.errors import NothingToAnalyze, SeveralRuns
from forensics.sources.debug_dump import dump_files
from forensics.sources.events.event_file import EventFile, read_event_file
from forensics.sources.events.writers import Writer, join_writers
from forensics.sources.logs.curve import Logs
from forensics.sources.logs.search import read_logs
from forensics.sources.recording import recorded_batches
from forensics.sources.separate_runs import separate_runs
from forensics.sources.step_axes import Draft, settle
from forensics.sources.storage.place import Directory
from forensics.sources.storage.tree import is_event_file, survey
from forensics.sources.tags import Meaning, is_residual, meaning

if TYPE_CHECKING:
    from forensics.sources.checkpoints.scan import CheckpointScan

_SOUGHT = (
    "event files (*tfevents*), checkpoints (*.index, *.weights.h5, *.keras), recordings and logs "
    "(printed progress, notebooks, CSV and JSON)"
)
_NEVER_NEGATIVE = (Quantity.GRADIENT_NORM, Quantity.WEIGHT_NORM)


def read(path: str | Path) -> Run:
    """Read one training run.

    Parameters
    ----------
    path : str or Path
        A log directory, of which everything below is one run, or one event file.

    Returns
    -------
    Run
        Broken and unreadable inputs are in its ``warnings`` and in the state of its ``inputs``.

    Raises
    ------
    NothingToAnalyze
        There is no such path, or neither event file nor checkpoint nor recording below it.
    SeveralRuns
        It holds several independent runs.
    """
    root = Path(path)
    # exists() would say no to a directory that may not be looked at.
    if not os.path.lexists(root):
        raise NothingToAnalyze(f"{root}: there is no such file or directory")
    return _read_directory(root) if root.is_dir() else _read_file(root)


def _read_log(path: Path) -> Run | None:
    """Read one log that is no event file; None where it is none."""
    logs = read_logs(Directory(path.parent), [path.name])
    if not logs.inputs:
        return None
    return Run(
        name=path.name,
        root=str(path.parent),
        series=series_of((), logs.drafts()),
        config=logs.config,
        inputs=tuple(logs.inputs),
        warnings=tuple(logs.all_warnings),
    )


def _read_file(path: Path) -> Run:
    logged = None if is_event_file(path.name) else _read_log(path)
    if logged is not None:
        return logged
    file = read_event_file(path, path.name)
    if not is_event_file(path.name) and file.n_events == 0:
        raise NothingToAnalyze(
            f"{path}: neither a log directory nor an event file that can be read"
        )
    series = series_of(join_writers([file]))
    return Run(
        name=path.name,
        root=str(path.parent),
        series=series,
        inputs=(file.input,),
        warnings=file.warnings,
    )


def _read_directory(root: Path) -> Run:
    tree = survey(root)
    files = [read_event_file(root / name, name) for name in tree.events]
    logs = read_logs(Directory(root), tree.others)
    series = series_of(join_writers(files), logs.drafts())
    runs = separate_runs(series, tree.checkpoints)
    if runs:
        raise SeveralRuns(runs)
    from forensics.sources.checkpoints.scan import read_checkpoints

    scan = read_checkpoints(root)
    recordings = recorded_batches(tree.others)
    dumps = dump_files(tree.others)
    if not (files or scan.checkpoints or scan.inputs or recordings or dumps or logs.inputs):
        _refuse(root, tree.warnings)
    return Run(
        name=root.resolve().name or str(root),
        root=str(root),
        series=series,
        checkpoints=scan.checkpoints,
        recordings=recordings,
        debug_dumps=dumps,
        config=logs.config,
        inputs=_inputs(tree.warnings, files, scan, logs),
        warnings=_warnings(tree.warnings, files, scan, logs),
    )


def _refuse(root: Path, warnings: Sequence[ReadWarning]) -> None:
    """Say that there is nothing, and whether that may be because it could not be looked for."""
    denied = [w.path for w in warnings if w.kind == "denied"]
    if denied == ["."]:
        raise NothingToAnalyze(f"{root}: {warnings[0].detail}")
    hidden = f" ({len(denied)} directories cannot be read)" if denied else ""
    raise NothingToAnalyze(f"{root}: nothing to analyse; looked for {_SOUGHT} below it{hidden}")


def _inputs(
    unseen: Iterable[ReadWarning], files: Iterable[EventFile], scan: CheckpointScan, logs: Logs
) -> tuple[InputFile, ...]:
    """All inputs by path; a directory that was not entered is one, so that nobody misses it."""
    folders = [InputFile(w.path, "directory", 0, None, InputState(w.kind)) for w in unseen]
    found = [*folders, *(f.input for f in files), *scan.inputs, *logs.inputs]
    return tuple(sorted(found, key=lambda i: i.path))


def _warnings(
    found: Iterable[ReadWarning], files: Iterable[EventFile], scan: CheckpointScan, logs: Logs
) -> tuple[ReadWarning, ...]:
    """All warnings, once where two readers met the same obstacle."""
    collected = [*found, *(w for file in files for w in file.warnings), *scan.warnings]
    collected += logs.all_warnings
    unique = {(w.path, w.offset, w.kind): w for w in reversed(collected)}
    return tuple(w for w in collected if unique[w.path, w.offset, w.kind] is w)


def series_of(writers: Iterable[Writer], logged: Iterable[Draft] = ()) -> tuple[Series, ...]:
    """Series of all writers and other logs, classified, on 0-based batch or epoch axes."""
    drafts = [
        Draft(
            writer.name,
            tag,
            meaning(tag, writer.name),
            np.array(column.steps, np.int64),
            np.array(column.values, np.float64),
            np.array(column.wall_times, np.float64),
            lossy=writer.lossy,
        )
        for writer in writers
        for tag, column in sorted(writer.columns.items())
    ]
    drafts += logged
    for draft in drafts:
        _doubt(draft)
    _stand_in(drafts)
    settle(drafts)
    return tuple(_series(draft) for draft in drafts)


def _doubt(draft: Draft) -> None:
    """Take back the meaning of a tag whose values contradict it."""
    found = draft.meaning
    if found.quantity in _NEVER_NEGATIVE and bool(np.any(draft.values < 0)):
        draft.meaning = Meaning(Quantity.OTHER, found.counting)


def _stand_in(drafts: Sequence[Draft]) -> None:
    """Let a squared or absolute error stand for the training loss where no loss was logged."""
    if any(d.meaning.quantity is Quantity.TRAIN_LOSS for d in drafts):
        return
    for draft in drafts:
        if is_residual(draft.tag, draft.writer):
            draft.meaning = Meaning(Quantity.TRAIN_LOSS, draft.meaning.counting)


def _series(draft: Draft) -> Series:
    return Series(
        quantity=draft.meaning.quantity,
        tag=draft.tag,
        writer=draft.writer,
        step_axis=draft.axis,
        steps=draft.index,
        values=draft.values,
        wall_times=draft.wall_times,
        layer=draft.meaning.layer,
        shift=draft.shift,
        fidelity=draft.fidelity,
        watched=draft.watched,
    )
