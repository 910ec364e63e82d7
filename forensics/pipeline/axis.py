"""Logged steps to indices of training batches, where the user says how far they are apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forensics.domain.quantity import StepAxis
from forensics.domain.run import CheckpointStats, Run, Series
from forensics.errors import UsageError


def on_batch_axis(run: Run, offset: int) -> Run:
    """Return the run with ``offset`` added to every batch step; epochs stay.

    A checkpoint's step counts the batches whose result it holds and moves along; the one of the
    untrained state stays at 0.

    Raises
    ------
    UsageError
        When a step would become negative, or larger than 64 bits hold.
    """
    if offset == 0:
        return run
    _check(run, offset)
    return replace(
        run,
        series=tuple(_series(s, offset) for s in run.series),
        checkpoint_stats=tuple(_checkpoint(c, offset) for c in run.checkpoint_stats),
        recordings=tuple(replace(r, step=max(0, r.step + offset)) for r in run.recordings),
    )


def _check(run: Run, offset: int) -> None:
    logged = [s.steps for s in run.series if s.step_axis is StepAxis.BATCH and len(s)]
    steps = [int(end) for array in logged for end in (array.min(), array.max())]
    steps += [c.step for c in run.checkpoint_stats if c.step]
    lowest, highest = min(steps, default=0), max(steps, default=0)
    if lowest >= 0 and lowest + offset < 0:
        raise UsageError(
            f"a step offset of {offset} makes step {lowest} negative; the least that does not is "
            f"{-lowest}"
        )
    if highest + offset > np.iinfo(np.int64).max:
        raise UsageError(f"a step offset of {offset} is too large for step {highest}")


def _series(series: Series, offset: int) -> Series:
    if series.step_axis is not StepAxis.BATCH:
        return series
    return replace(series, steps=series.steps + offset, shift=series.shift - offset)


def _checkpoint(checkpoint: CheckpointStats, offset: int) -> CheckpointStats:
    if checkpoint.step is None:
        return checkpoint
    return replace(checkpoint, step=max(0, checkpoint.step + offset))
