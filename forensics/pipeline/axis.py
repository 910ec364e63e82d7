"""Logged steps to indices of training batches, where the user says how far they are apart."""

from __future__ import annotations

from dataclasses import replace

from forensics.domain.quantity import StepAxis
from forensics.domain.run import CheckpointStats, Run, Series


def on_batch_axis(run: Run, offset: int) -> Run:
    """Return the run with ``offset`` added to every batch step; epochs stay.

    A checkpoint's step counts the batches whose result it holds and moves along, not below 0.
    """
    if offset == 0:
        return run
    return replace(
        run,
        series=tuple(_series(s, offset) for s in run.series),
        checkpoints=tuple(_checkpoint(c, offset) for c in run.checkpoints),
        recordings=tuple(replace(r, step=max(0, r.step + offset)) for r in run.recordings),
    )


def _series(series: Series, offset: int) -> Series:
    if series.step_axis is not StepAxis.BATCH:
        return series
    return replace(series, steps=series.steps + offset, shift=series.shift - offset)


def _checkpoint(checkpoint: CheckpointStats, offset: int) -> CheckpointStats:
    if checkpoint.step is None:
        return checkpoint
    return replace(checkpoint, step=max(0, checkpoint.step + offset))
