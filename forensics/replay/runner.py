"""Parent side of a replay: what the child is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from forensics.domain.replay import ReplayResult
from forensics.domain.run import CheckpointStats, CheckpointStatus
from forensics.replay.child import Child
from forensics.replay.request import ReplayRequest, parse_entry

LEAD = 8
"""Steps before the failure from which remedies are tried (they come too late at the failing step:
with eight steps to go clipping and a tenth of the learning rate still helped)."""


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
    if request.symptom == "diverged" and request.interval is not None:
        # a state from before the divergence began, not merely before it was beyond doubt
        calm = [c for c in starts if (c.step or 0) <= max(0, request.interval[0])]
        starts = calm or starts
    observed = starts[0].step if starts and starts[0].step is not None else 0
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
        "observe_step": observed + request.step_offset,
        "symptom": request.symptom,
        "loss_limit": request.loss_limit,
        "device": request.device,
        # the child stops by itself and still answers; the parent's limit is for a child that hangs
        "seconds": max(5.0, request.timeout * 0.85 - 5.0),
    }


def _offered(starts: list[CheckpointStats]) -> list[CheckpointStats]:
    """Return the newest three, and one that leaves room for trials before the failure."""
    newest = (starts[0].step or 0) if starts else 0
    early = [c for c in starts[3:] if (c.step or 0) <= newest - LEAD]
    return [*starts[:3], *early[:1]]


def _clean_step(request: ReplayRequest) -> int | None:
    """Return the last step that the run is known to have gone through."""
    if request.symptom == "none" or request.interval is None:
        return None
    return request.interval[0] + request.step_offset
