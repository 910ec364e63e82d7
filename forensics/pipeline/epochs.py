"""Epochs in batches, as far as curves and checkpoints tell how many an epoch has."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.run import Run


def batches_per_epoch(run: Run) -> int | None:
    """Return the number of batches of an epoch, None when nothing tells.

    Known where a progress bar told it, when the batches that were logged divide evenly among the
    epochs that were, or when checkpoints were saved at the end of every epoch.
    """
    told = run.config.get("steps_per_epoch")
    if isinstance(told, int) and told > 0:
        return told
    epochs = max(last_logged(run, StepAxis.EPOCH), default=-1) + 1
    if epochs == 0:
        return None
    batches = max(last_logged(run, StepAxis.BATCH), default=-1) + 1
    if batches:
        return None if batches % epochs else batches // epochs
    return _saved_every_epoch(run, epochs)


def first_batch_at_least(run: Run, epoch: int) -> int:
    """Return a batch that is not after the first one of an epoch, whatever an epoch's length.

    The run ended in the epoch after the last logged one at the latest, and its newest checkpoint
    holds ``steps`` batches, so that an epoch has ``steps / (epochs + 1)`` batches or more; and one
    at least.
    """
    known = batches_per_epoch(run)
    if known is not None:
        return epoch * known
    epochs = max(last_logged(run, StepAxis.EPOCH), default=epoch) + 1
    return epoch * max(1, -(-max(_saved(run), default=0) // (epochs + 1)))


def last_logged(run: Run, axis: StepAxis) -> Iterator[int]:
    """Yield the last step of every training loss of an axis: validation has its own batches."""
    for series in run.series:
        if series.step_axis is axis and len(series) and series.quantity is Quantity.TRAIN_LOSS:
            yield int(np.max(series.steps))


def _saved_every_epoch(run: Run, epochs: int) -> int | None:
    """Return the distance of checkpoints that lie one epoch apart, the last at the end of the run.

    A distance of 1 says nothing: checkpoints may be numbered by epochs or by saves.
    """
    steps = _saved(run)
    if len(steps) < 2 or steps[-1] % epochs:
        return None
    length = steps[-1] // epochs
    apart = all(b - a == length for a, b in pairwise(steps))
    return length if apart and length > 1 else None


def _saved(run: Run) -> list[int]:
    return sorted({c.step for c in run.checkpoint_stats if c.step})
