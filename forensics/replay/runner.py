"""Parent side of a replay: what the child is asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.replay import ReplayResult
from forensics.domain.run import CheckpointStats, CheckpointStatus
from forensics.replay.child import Child
from forensics.replay.request import ReplayRequest, parse_entry

LEAD = 8
"""Steps before the failure from which remedies are tried (they come too late at the failing step:
with eight steps to go clipping and a tenth of the learning rate still helped)."""


SPANS = 5000
"""Spans of finite losses that are sent: those nearest to the failure."""

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
        When `request.entry` names no existing file or no function.
    """
    file, function = parse_entry(request.entry)
    message = _message(request, file, function)
    return Child(message, request.device, request.timeout, progress).run()


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
        for c in run.checkpoints
        if c.status is CheckpointStatus.CLEAN
        and c.step is not None
        and (bound is None or c.step + request.step_offset <= bound)
    ]
    poisoned = [
        c.step
        for c in run.checkpoints
        if c.status is CheckpointStatus.POISONED and c.step is not None
    ]
    if poisoned:
        found = [c for c in found if (c.step or 0) < min(poisoned)]
    return sorted(found, key=lambda c: (-(c.step or 0), c.path))


def _last_step(request: ReplayRequest) -> int:
    ends = [request.failing_step, request.interval[1] if request.interval else None]
    known = [e for e in ends if e is not None]
    return max(known) + request.step_offset if known else 0


def _message(request: ReplayRequest, file: Path, function: str) -> dict[str, Any]:
    root = Path(request.run.root)
    starts = start_points(request)
    clean_state = (starts[0].step or 0) + request.step_offset if starts else None
    if request.symptom == "diverged" and request.interval is not None:
        # a state from before the divergence began, not merely before it was beyond doubt
        calm = [c for c in starts if (c.step or 0) <= max(0, request.interval[0])]
        starts = calm or starts
    wanted = request.symptom != "none"
    return {
        "file": str(file),
        "function": function,
        "checkpoints": [
            {
                "path": str(root / c.path),
                "name": c.path,
                "step": (c.step or 0) + request.step_offset,
                "format": c.format.value,
            }
            for c in _offered(starts)
        ],
        "last_step": _last_step(request),
        "clean_step": _clean_step(request),
        "clean_state": clean_state,
        "finite_losses": finite_losses(request) if wanted else [],
        "logged_losses": logged_losses(request) if wanted else [],
        "observe_step": _last_trained(request),
        "symptom": request.symptom,
        "loss_limit": request.loss_limit,
        "suspicions": list(request.suspicions),
        "device": request.device,
        "scan": request.options.scan,
        "with_data": request.options.with_data,
        # the child stops by itself and still answers; the parent's limit is for a child that hangs
        "seconds": max(5.0, request.timeout * 0.85 - 5.0),
    }


def _offered(starts: list[CheckpointStats]) -> list[CheckpointStats]:
    """Return the newest three, and one that leaves room for trials before the failure."""
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
        for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True)
        if math.isfinite(value) and 0 <= step + request.step_offset <= last
    }
    return sorted(found.items())[-LOSSES:]


def _last_trained(request: ReplayRequest) -> int:
    """Return the last batch that the run is known to have trained on, 0 when nothing tells."""
    run = request.run
    known = [c.step - 1 for c in run.checkpoints if c.step is not None]
    known += [int(s.steps.max()) for s in run.of(Quantity.TRAIN_LOSS, StepAxis.BATCH) if len(s)]
    last = max(known, default=0) + request.step_offset
    if request.symptom != "none":
        # the failing step was trained, and what follows it is no longer of interest
        last = _last_step(request)
    return max(0, last)


def _clean_step(request: ReplayRequest) -> int | None:
    """Return the last step that the run is known to have gone through."""
    if request.symptom == "none" or request.interval is None:
        return None
    return request.interval[0] + request.step_offset
