"""From a log directory, or one event file, to a `Run`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forensics.domain.run import InputFile, InputState, ReadWarning, Run, Series
from forensics.errors import NothingToAnalyze, SeveralRuns
from forensics.sources.debug_dump import dump_files
from forensics.sources.events.event_file import EventFile, read_event_file, read_event_files
from forensics.sources.events.hparam_sessions import logged_settings
from forensics.sources.events.logged import logged_files
from forensics.sources.events.writers import join_writers
from forensics.sources.logs.curve import Logs
from forensics.sources.recording import recorded_batches
from forensics.sources.separate_runs import separate_runs
from forensics.sources.series import series_of, too_many
from forensics.sources.storage.locate import locate
from forensics.sources.storage.place import Place
from forensics.sources.storage.tree import Tree, is_event_file

if TYPE_CHECKING:
    from forensics.sources.checkpoints.scan import CheckpointScan

_SOUGHT = (
    "event files (*tfevents*), checkpoints (*.index, *.weights.h5, *.keras, *.safetensors, "
    "SavedModels, Orbax), recordings and logs (printed progress, notebooks, CSV and JSON)"
)


def read(path: str | Path, *, several: bool = False) -> Run:
    """Read one training run.

    Parameters
    ----------
    path : str or Path
        A log directory, of which everything below is one run, or one event file; or a URL of
        either (``s3://bucket/run``, ``gs://``, ``hf://``, ``https://``, ``memory://``).
    several : bool
        Take independent runs below it as one, for its tables: the writer says whose a row is.

    Returns
    -------
    Run
        Broken and unreadable inputs are in its ``warnings`` and in the state of its ``inputs``.

    Raises
    ------
    NothingToAnalyze
        There is no such path, or neither event file nor checkpoint nor recording below it.
    UsageError
        It is a URL that cannot be listed, or its package is not installed.
    SeveralRuns
        It holds several independent runs, and they were not asked for.
    """
    place, name = locate(path)
    return read_place(place, several=several) if name is None else _read_file(place, name)


def _read_log(place: Place, name: str) -> Run | None:
    """Read one log that is no event file; None where it is none."""
    from forensics.sources.logs.search import read_log

    logs = read_log(place, name)
    if all(file.state is InputState.DENIED for file in logs.inputs):
        return None
    return Run(
        name=name,
        root=place.label,
        series=series_of((), logs.drafts()),
        config=logs.config,
        inputs=_inputs(place, (), logs.inputs),
        warnings=tuple(logs.all_warnings),
    )


def _read_file(place: Place, name: str) -> Run:
    log = None if is_event_file(name) else _read_log(place, name)
    if log is not None:
        return log
    file = read_event_file(place, name)
    if not is_event_file(name) and file.n_events == 0:
        why = next(
            (w.detail for w in file.warnings if w.kind == "denied"),
            "neither a log directory, nor an event file or log that can be read",
        )
        raise NothingToAnalyze(f"{place.label}/{name}: {why}")
    writers = join_writers([file])
    logged = logged_files(place, writers)
    drawn, undrawn = _graph_settings(place, [file], [name])
    told, untold = logged_settings(logged)
    return Run(
        name=name,
        root=place.label,
        series=series_of(writers),
        config={**drawn, **told},
        inputs=_inputs(place, (), (file.input,)),
        warnings=(*file.warnings, *undrawn, *untold),
        logged=logged,
    )


def read_place(place: Place, *, several: bool = False) -> Run:
    """Read everything below the root of a place as one training run; raises as `read` does."""
    tree = place.survey()
    place.expect(tree.events)
    files = read_event_files(place, tree.events)
    writers = join_writers(files)
    logs = _logs(place, tree)
    series, strange = _agreeing(series_of(writers, logs.drafts()), logs)
    runs = () if several else separate_runs(series, tree.checkpoints, logs.runs)
    if runs:
        raise SeveralRuns(runs)
    scan = _checkpoints(place, tree)
    recordings = recorded_batches(tree.others)
    dumps = dump_files(tree.others)
    saved = scan is not None and (scan.checkpoints or scan.inputs)
    if not (files or saved or recordings or dumps or logs.inputs):
        _refuse(place, tree.warnings)
    logged = logged_files(place, writers)
    drawn, undrawn = _graph_settings(place, files, tree.files)
    told, untold = logged_settings(logged)
    read = (*(f.input for f in files), *(scan.inputs if scan else ()), *logs.inputs)
    return Run(
        name=_name(place),
        root=place.label,
        series=series,
        config={**drawn, **logs.config, **told},
        checkpoint_stats=scan.checkpoints if scan else (),
        recordings=recordings,
        debug_dumps=dumps,
        inputs=_inputs(place, tree.warnings, read),
        warnings=(
            *tree.warnings,
            *undrawn,
            *too_many(series, writers),
            *untold,
            *(w for file in files for w in file.warnings),
            *(scan.warnings if scan else ()),
            *logs.all_warnings,
            *strange,
        ),
        logged=logged,
    )


def _logs(place: Place, tree: Tree) -> Logs:
    """Read what is neither event file nor checkpoint; where there is no such, import nothing."""
    if not tree.others:
        return Logs([], [])
    from forensics.sources.logs.search import read_logs

    return read_logs(place, tree.others)


def _agreeing(
    series: tuple[Series, ...], logs: Logs
) -> tuple[tuple[Series, ...], Sequence[ReadWarning]]:
    """Tell tables of the same training from others; there is nothing to do without tables."""
    if not logs.inputs:
        return series, ()
    from forensics.sources.logs.agreement import without_strangers

    return without_strangers(series)


def _checkpoints(place: Place, tree: Tree) -> CheckpointScan | None:
    """Read all checkpoints; None, and nothing imported, where there are but event files."""
    if not (tree.checkpoints or tree.others):
        return None
    from forensics.sources.checkpoints.scan import read_checkpoints

    return read_checkpoints(place, tree)


def _graph_settings(
    place: Place, files: Sequence[EventFile], names: Sequence[str]
) -> tuple[dict[str, Any], list[ReadWarning]]:
    """Read settings from graphs; import nothing where there can be none."""
    if len(files) == len(names) and not any(file.blobs.tags for file in files):
        return {}, []
    from forensics.sources.graphs.logged import graph_settings

    return graph_settings(place, files, names)


def _name(place: Place) -> str:
    if place.local is None:
        return place.label.rstrip("/").rpartition("/")[2]
    own = place.local.name
    # A disk that fails now has been read: what was found is worth more than its name.
    with suppress(OSError):
        # "..", "/" and links are called what they lead to
        if own in ("", "..") or place.local.is_symlink():
            own = place.local.resolve().name
    return own or place.label


def _refuse(place: Place, warnings: Sequence[ReadWarning]) -> None:
    """Say that there is nothing, and whether that may be because it could not be looked for."""
    denied = [w.path for w in warnings if w.kind == "denied"]
    if denied == ["."]:
        raise NothingToAnalyze(f"{place.label}: {warnings[0].detail}")
    hidden = f" ({len(denied)} directories cannot be read)" if denied else ""
    raise NothingToAnalyze(
        f"{place.label}: nothing to analyse; looked for {_SOUGHT} below it{hidden}"
    )


def _inputs(
    place: Place, unseen: Iterable[ReadWarning], read: Iterable[InputFile]
) -> tuple[InputFile, ...]:
    """All inputs by path; a directory that was not entered is one, so that nobody misses it."""
    folders = [InputFile(w.path, "directory", 0, None, InputState(w.kind)) for w in unseen]
    changed = place.changed()
    found = [*folders, *(_live(i, changed) for i in read)]
    return tuple(sorted(found, key=lambda i: i.path))


def _live(file: InputFile, changed: Collection[str]) -> InputFile:
    """Say of a file that was written anew while it was read that nothing more can be said."""
    unread = file.state is InputState.DENIED
    return replace(file, state=InputState.LIVE) if file.path in changed and not unread else file
