"""Parent side of a replay: what the child is asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from forensics.domain.quantity import Fidelity, Quantity, StepAxis
from forensics.domain.replay import ReplayResult
from forensics.domain.run import CheckpointFormat, CheckpointStats, CheckpointStatus, Run
from forensics.replay.artefacts import with_reproducer
from forensics.replay.request import ReplayRequest
from forensics.replay.sandbox.child import Child
from forensics.replay.sandbox.containment import Containment, is_foreign
from forensics.replay.source import Source, SourceKind, parse_source, recording_of
from forensics.sources.checkpoints.scan import read_recorded_states
from forensics.sources.recording import batches_in
from forensics.sources.storage.place import Directory

LEAD = 8
"""Steps before the failure from which remedies are tried (they come too late at the failing step:
with eight steps to go clipping and a tenth of the learning rate still helped)."""


SPANS = 5000
"""Spans of finite losses that are sent: those nearest to the failure."""

MOST_SPACING = 50
"""Steps after the last logged one that are asked for an error that ended the run, at most."""
LOSSES = 500
"""Logged losses that are sent, to tell where the loss was lowest."""


def run_replay(request: ReplayRequest, progress: Callable[[str], None]) -> ReplayResult:
    """Replay in a child process; a crash, a hang or nonsense becomes a result, never an exception.

    Parameters
    ----------
    request : ReplayRequest
        What to replay.
    progress : callable
        Takes one line at a time.

    Raises
    ------
    UsageError
        When `request.entry` names nothing that can be replayed.
    """
    source = parse_source(request.entry, request.options.batch)
    options = request.options
    containment = Containment(
        device=request.device,
        timeout=request.timeout,
        foreign=is_foreign(source.kind),
        python=options.python,
        memory=options.memory,
    )
    message = _message(_with_recording(request, source), source)
    return Child(message, containment, progress).run(
        lambda result, folder: with_reproducer(result, folder, options.reproducer)
    )


def start_points(request: ReplayRequest) -> list[CheckpointStats]:
    """Clean checkpoints before the first bad step can have happened, the latest first.

    When a failure is dated by its loss alone, a clean checkpoint between the true origin and that
    date cannot exist, unless the values are laundered; the interval's upper end is therefore a
    safe bound.
    """
    run = request.run
    bound = _last_step(request) if request.symptom != "none" else None
    found = [
        c
        for c in run.checkpoint_stats
        if c.status is CheckpointStatus.CLEAN
        and c.step is not None
        and (bound is None or c.step + request.step_offset <= bound)
    ]
    poisoned = [
        c.step
        for c in run.checkpoint_stats
        if c.status is CheckpointStatus.POISONED and c.step is not None
    ]
    if poisoned:
        found = [c for c in found if (c.step or 0) < min(poisoned)]
    return sorted(found, key=lambda c: (not _exact(c), -(c.step or 0), c.path))


_LOADED = frozenset({
    CheckpointFormat.TENSOR_BUNDLE, CheckpointFormat.KERAS_ARCHIVE, CheckpointFormat.WEIGHTS_H5,
    CheckpointFormat.RECORDED_STATE,
})  # fmt: skip
"""Formats that the worker loads into the objects of a case."""


def _exact(checkpoint: CheckpointStats) -> bool:
    """Whether it holds all that a step depends on, random seeds included: to be tried first."""
    return checkpoint.format is CheckpointFormat.RECORDED_STATE


def _last_step(request: ReplayRequest) -> int:
    ends = [request.failing_step, request.interval[1] if request.interval else None]
    known = [e for e in ends if e is not None]
    return max(known) + request.step_offset if known else 0


def _message(request: ReplayRequest, source: Source) -> dict[str, Any]:
    root = Path(request.run.root)
    starts = start_points(request)
    clean_state = max((c.step or 0 for c in starts), default=None)
    if clean_state is not None:
        clean_state += request.step_offset
    if request.symptom == "diverged" and request.interval is not None:
        # a state from before the divergence began, not merely before it was beyond doubt
        calm = [c for c in starts if (c.step or 0) <= max(0, request.interval[0])]
        starts = calm or starts
    wanted = request.symptom != "none"
    # a batch that is named is that of the failing step, however old the state is that it meets
    named = _last_step(request) if wanted and request.options.batch is not None else None
    return {
        "source": source.kind.value,
        "file": str(source.path),
        "function": source.function,
        **_recording(request, source),
        "batch": None if request.options.batch is None else str(request.options.batch.resolve()),
        "checkpoints": [
            {
                "path": str(root / c.path),
                "name": c.path,
                "step": named if named is not None else (c.step or 0) + request.step_offset,
                "format": c.format.value,
            }
            for c in _offered(starts)
        ],
        "built_step": named or 0,
        "last_step": _last_step(request),
        "failing_step": (
            None if request.failing_step is None else request.failing_step + request.step_offset
        ),
        "shown_step": _shown_step(request),
        "log_spacing": _log_spacing(request.run),
        "clean_step": _clean_step(request),
        "clean_state": clean_state,
        "finite_losses": finite_losses(request) if wanted else [],
        "logged_losses": logged_losses(request) if wanted else [],
        "observe_step": _last_trained(request),
        "symptom": request.symptom,
        "loss_limit": request.loss_limit,
        "suspicions": list(request.suspicions),
        "trial_seconds": request.trial_seconds if request.options.trials else 0.0,
        "device": request.device,
        "scan": request.options.scan,
        "with_data": request.options.with_data,
        # the child stops by itself and still answers; the parent's limit is for a child that hangs
        "seconds": max(5.0, request.timeout * 0.85 - 5.0),
    }


def _with_recording(request: ReplayRequest, source: Source) -> ReplayRequest:
    """Return the request with the recording that is named in place of the run's own."""
    run, folder = request.run, source.path
    if source.kind is not SourceKind.RECORDING or folder == recording_of(run):
        return request
    place = Directory(folder)
    states, batches = read_recorded_states(place).checkpoints, batches_in(place)
    changed = replace(run, root=str(folder), checkpoint_stats=states, recordings=batches)
    return replace(request, run=changed)


def _recording(request: ReplayRequest, source: Source) -> dict[str, Any]:
    """Return the folder of the recording and its batches by step; a named batch replaces them."""
    run = request.run
    folder = source.path if source.kind is SourceKind.RECORDING else recording_of(run)
    ours = source.kind in (SourceKind.RECORDING, SourceKind.ENTRY_POINT)
    if folder is None or not ours or request.options.batch is not None:
        return {"recording": None, "recorded": []}
    paths = ((b.step + request.step_offset, (Path(run.root) / b.path)) for b in run.recordings)
    recorded = [(step, str(p)) for step, p in paths if p.parent.resolve() == folder]
    return {
        "recording": str(folder),
        "recorded": recorded,
        "recorded_losses": _recorded_losses(request, folder, [step for step, _ in recorded]),
    }


def _recorded_losses(
    request: ReplayRequest, folder: Path, steps: list[int]
) -> list[tuple[int, float]]:
    """Losses that the recorder logged for the steps whose batches are there."""
    wanted = set(steps)
    return [
        (step + request.step_offset, value)
        for series in request.run.of(Quantity.TRAIN_LOSS, StepAxis.BATCH)
        if (Path(request.run.root) / series.writer).resolve() == folder
        for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True)
        if math.isfinite(value) and step + request.step_offset in wanted
    ]


def _offered(starts: list[CheckpointStats]) -> list[CheckpointStats]:
    """Return the newest three, and one that leaves room for trials before the failure.

    Those in a format that a replay does not load are passed over, unless there is no other: the
    worker says so then.
    """
    starts = [c for c in starts if c.format in _LOADED] or starts[:1]
    newest = (starts[0].step or 0) if starts else 0
    early = [c for c in starts[3:] if (c.step or 0) <= newest - LEAD]
    return [*starts[:3], *early[:1]]


def finite_losses(request: ReplayRequest) -> list[tuple[int, int]]:
    """Spans (first, last) of batches up to the failure whose every logged training loss is finite.

    A step that was logged twice, before and after a restart, is finite only if both are.
    """
    steps: dict[int, bool] = {}
    last = _last_step(request)
    for series in request.run.of(Quantity.TRAIN_LOSS, StepAxis.BATCH):
        for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True):
            steps[step] = steps.get(step, True) and math.isfinite(value)
    spans: list[tuple[int, int]] = []
    for step in sorted(s + request.step_offset for s, finite in steps.items() if finite):
        if not 0 <= step <= last:
            continue
        if spans and spans[-1][1] == step - 1:
            spans[-1] = (spans[-1][0], step)
        else:
            spans.append((step, step))
    return spans[-SPANS:]


def logged_losses(request: ReplayRequest) -> list[tuple[int, float]]:
    """Return step and training loss of the batches before the failure, as logged, in order."""
    last = _last_step(request)
    found = {
        int(step) + request.step_offset: float(value)
        for series in request.run.of(Quantity.TRAIN_LOSS, StepAxis.BATCH)
        if series.fidelity <= Fidelity.RECORD
        for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True)
        if math.isfinite(value) and 0 <= step + request.step_offset <= last
    }
    return sorted(found.items())[-LOSSES:]


def _last_trained(request: ReplayRequest) -> int:
    """Return the last batch that the run is known to have trained on, 0 when nothing tells."""
    run = request.run
    known = [c.step - 1 for c in run.checkpoint_stats if c.step is not None]
    known += [int(s.steps.max()) for s in run.of(Quantity.TRAIN_LOSS, StepAxis.BATCH) if len(s)]
    last = max(known, default=0) + request.step_offset
    if request.symptom != "none":
        # the failing step was trained, and what follows it is no longer of interest
        last = _last_step(request)
    return max(0, last)


def _shown_step(request: ReplayRequest) -> int:
    """Return the step at which the loss shows the failure: later than the state, or as late."""
    loss = request.run.train_loss
    shown = [_last_step(request)]
    if loss is not None and loss.step_axis is StepAxis.BATCH:
        bad = loss.steps[~np.isfinite(loss.values)]
        shown += [int(bad.min()) + request.step_offset] if len(bad) else []
    return max(shown)


def _log_spacing(run: Run) -> int:
    """Return the usual number of steps from one logged loss to the next, at most 50."""
    loss = run.train_loss
    if loss is None or loss.step_axis is not StepAxis.BATCH or len(loss) < 2:
        return 1
    return int(np.clip(np.median(np.diff(np.unique(loss.steps))), 1, MOST_SPACING))


def _clean_step(request: ReplayRequest) -> int | None:
    """Return the last step that the run is known to have gone through."""
    if request.symptom == "none" or request.interval is None:
        return None
    return request.interval[0] + request.step_offset
