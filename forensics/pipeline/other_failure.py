"""Whether a replay met the failure of the files, or another one of the program as it is now."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forensics.domain.quantity import StepAxis
from forensics.domain.replay import ReplayResult, ReplayStatus
from forensics.domain.run import CheckpointStatus, Run
from forensics.pipeline.dating import reproduced
from forensics.pipeline.target import Target

MARGIN = 1
"""Steps by which log, checkpoint and replay may differ: some count a step before its update, some
after it."""


def of_this_failure(run: Run, target: Target, answer: ReplayResult) -> ReplayResult:
    """Return the answer of a replay; one that met another failure does not reproduce this one.

    Parameters
    ----------
    run : Run
        What was logged and saved.
    target : Target
        The failure that it shows.
    answer : ReplayResult
        As the replay gave it.

    Returns
    -------
    ReplayResult
        `answer`, or one with status ``not_reproduced`` that keeps step and symptom of what was
        met; its origin stands among the others, and all else that speaks of the other failure is
        gone: rows, trials, whose bug it is, the reproducer.
    """
    if not reproduced(answer) or answer.step is None or not _is_other(run, target, answer):
        return answer
    origins = (*([answer.origin] if answer.origin is not None else []), *answer.other_origins)
    return replace(
        answer,
        status=ReplayStatus.NOT_REPRODUCED,
        reason=(
            f"another failure was met at step {answer.step}, which logs or checkpoints rule out "
            "there: the program, its data or its seeds are not those of the run; "
            f"{answer.reason}"
        ).rstrip("; "),
        origin=None,
        other_origins=origins,
        chain=(),
        check_numerics=None,
        samples=(),
        minimal_batch=(),
        culprits=(),
        row_notes=(),
        collective=None,
        trials=(),
        whose_bug=None,
        instrument=None,
        degradations=(),
        reproducer=None,
        reproducer_script=None,
        observation=None,
    )


def met_another(replay: ReplayResult | None) -> int | None:
    """Return the step of another failure than that of the files, None where none was met."""
    if replay is None or replay.status is not ReplayStatus.NOT_REPRODUCED:
        return None
    return replay.step if replay.symptom is not None else None


def _is_other(run: Run, target: Target, answer: ReplayResult) -> bool:
    step, interval = answer.step, target.interval
    if step is None or interval is None or target.axis is not StepAxis.BATCH:
        return False
    low, high = interval
    if target.step is not None and abs(step - target.step) <= MARGIN:
        return False
    if answer.symptom == "loss" and _loss_was_finite(run, step, high if step < low else step):
        return True
    if low - MARGIN <= step <= high + MARGIN:
        return False
    if step > high:
        # A divergence is met once the loss is beyond all doubt, which may be long after its onset,
        # and state that was bad from the start once a step uses it, where the log shows it first.
        diverged = target.symptom == answer.symptom == "diverged"
        return not diverged and not _loss_goes_bad(run, step)
    if answer.symptom == "diverged":
        return _loss_was_finite(run, step, step)
    return answer.symptom == "raised" or _was_clean_between(run, step, high)


def _loss_was_finite(run: Run, first: int, last: int) -> bool:
    """Whether the log holds a finite training loss, and no other, at one of these steps."""
    loss = run.train_loss
    if loss is None or loss.step_axis is not StepAxis.BATCH:
        return False
    finite = np.isfinite(loss.values)
    inside = (loss.steps >= first) & (loss.steps <= last)
    sound = set(loss.steps[inside & finite].tolist())
    return bool(sound - set(loss.steps[inside & ~finite].tolist()))


def _loss_goes_bad(run: Run, step: int) -> bool:
    """Whether the first training loss of the log that is not finite is that of this step."""
    loss = run.train_loss
    if loss is None or loss.step_axis is not StepAxis.BATCH:
        return False
    bad = loss.steps[~np.isfinite(loss.values)]
    return bool(len(bad)) and abs(int(bad.min()) - step) <= MARGIN


def _was_clean_between(run: Run, step: int, last: int) -> bool:
    """Whether a checkpoint that holds the result of this step, and more, is clean.

    A finite loss is no such proof: a slot may be infinite long before a loss is NaN.
    """
    return any(
        c.status is CheckpointStatus.CLEAN and c.step is not None and step + MARGIN < c.step <= last
        for c in run.checkpoint_stats
    )
