"""The only place that knows the whole order of an analysis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from forensics.detectors.registry import Inspection, inspect
from forensics.diagnosis import diagnose
from forensics.domain.diagnosis import Diagnosis
from forensics.domain.findings import Severity
from forensics.domain.replay import ReplayResult
from forensics.domain.report import Report
from forensics.domain.run import Run
from forensics.domain.scene import Scene
from forensics.errors import UsageError
from forensics.pipeline.assemble import Analysis, assemble
from forensics.pipeline.axis import on_batch_axis
from forensics.pipeline.legibility import (
    corrupt_evidence,
    damaged,
    legible,
    no_evidence,
    refuse_without_events,
    telling,
)
from forensics.pipeline.other_failure import met_another, of_this_failure
from forensics.pipeline.target import Target, find_target
from forensics.pipeline.verdict import judge
from forensics.replay.request import ReplayOptions
from forensics.replay.source import consented_source, parse_source
from forensics.sources.logdir import read
from forensics.sources.storage.locate import is_remote, place_at

Progress = Callable[[str], None]


def analyze(
    path: str | Path,
    *,
    replay: str | None = None,
    device: str = "auto",
    step_offset: int = 0,
    replay_timeout: float = 600.0,
    options: ReplayOptions | None = None,
    progress: Progress | None = None,
) -> Report:
    """Say when and why a training run went wrong.

    Parameters
    ----------
    path : str or Path
        Log directory of one run, or an event file; a URL (``s3://bucket/run``) of either too.
    replay : str, optional
        ``FILE:function`` of the user's program (the function returns a ``ReplayCase``), a
        recording, a ``.keras`` file or a SavedModel. With it the failing step is run again in a
        child process, or one step is observed when nothing failed.
    device : str
        Where the replay runs: ``auto``, ``cpu`` or ``gpu``.
    step_offset : int
        Added to logged steps and to the steps of checkpoints to get 0-based batch indices.
    replay_timeout : float
        Seconds of wall clock after which the replay is stopped.
    options : ReplayOptions, optional
        What else is wanted of the replay.
    progress : callable, optional
        Takes one line at a time.

    Returns
    -------
    Report
        The finished document; a broken input or a replay that did not work is a record in it.

    Raises
    ------
    UsageError
        When there is nothing to analyse, when there are several runs, when `replay` names nothing
        that can be replayed, when a replay is asked for of a run in a bucket, or when
        `step_offset` makes a step negative.
    ConsentNeeded
        When a replay of what lies in the log directory is asked for without ``options.trust``.
    """
    tell = progress or _silent
    if replay is not None:
        parse_source(replay, options.batch if options else None)
    asked = options or ReplayOptions()
    if is_remote(path) and (replay is not None or asked.trust):
        raise UsageError(
            "a replay starts from checkpoints on this machine: copy the run from its bucket to a "
            "folder and analyse that, or leave out the replay"
        )
    tell("reading logs and checkpoints")
    run = on_batch_axis(read(path), step_offset)
    refuse_without_events(run)
    source = replay if replay is not None else consented_source(run, asked)
    if source is None and run.debug_dumps:
        return _with_dump(run, tell)
    if source is None:
        return analyze_run(run, tell)
    return analyze_run(
        run, tell, lambda target: _replay(run, target, source, device, replay_timeout, asked, tell)
    )


def _with_dump(run: Run, tell: Progress) -> Report:
    """Judge a run that left a debug dump, which is read instead of a replay."""
    from forensics.replay.recorded_dump import RecordedDump

    tell("reading the debug dump")
    dump = RecordedDump(place_at(run.root), run.debug_dumps)
    inputs = tuple(sorted((*run.inputs, *dump.inputs), key=lambda i: i.path))
    run = replace(run, inputs=inputs, warnings=(*run.warnings, *dump.warnings))
    return analyze_run(run, tell, lambda target: dump.result())


def analyze_run(
    run: Run, tell: Progress, replay: Callable[[Target], ReplayResult] | None = None
) -> Report:
    """Judge a run that was read.

    Parameters
    ----------
    run : Run
        Steps count batches from 0.
    tell : callable
        Takes one line of progress at a time.
    replay : callable, optional
        Runs the failing step again, given what logs and checkpoints say about it.
    """
    tell("looking for what went wrong")
    inspection = inspect(Scene(run))
    target = find_target(run, inspection.findings)
    logged = scene = Scene(run)
    if replay is not None:
        scene = Scene(run, of_this_failure(run, target, replay(target)))
        if met_another(scene.replay) is None:
            logged = scene
            inspection = inspect(scene)
    diagnoses = _diagnose(logged, inspection)
    verdict = judge(scene, inspection.findings, diagnoses, target)
    return assemble(Analysis(scene, inspection, diagnoses, verdict))


def _replay(
    run: Run,
    target: Target,
    entry: str,
    device: str,
    timeout: float,
    options: ReplayOptions,
    tell: Progress,
) -> ReplayResult:
    """Run the failing step again; when nothing failed one step is observed all the same."""
    from forensics.replay.request import ReplayRequest
    from forensics.replay.runner import run_replay

    request = ReplayRequest(
        run=run,
        entry=entry,
        device=device,
        timeout=timeout,
        failing_step=target.batch_step,
        interval=target.search_interval(run),
        symptom=target.symptom,
        loss_limit=target.loss_limit,
        suspicions=target.suspicions,
        options=options,
    )
    return run_replay(request, tell)


def _diagnose(scene: Scene, inspection: Inspection) -> tuple[Diagnosis, ...]:
    """Name the causes; where nothing could be seen, say so instead of calling it healthy."""
    if any(f.severity is not Severity.INFO for f in inspection.findings):
        return diagnose(scene, inspection.findings)
    if not legible(scene.run) and damaged(scene.run):
        return (corrupt_evidence(scene.run),)
    if not telling(scene):
        return (no_evidence(scene.run),)
    return diagnose(scene, inspection.findings)


def _silent(_: str) -> None:
    """Progress that nobody reads."""
