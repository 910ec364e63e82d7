"""What the steps of each series count, and how far they are from 0-based batch indices.

A step is the 0-based index of a training batch. The stock Keras callback counts batches from 1 and
epochs from 0 [1]_; custom loops count as they like. Shifts are taken from evidence in the steps
themselves, and never applied to a writer that logged step 0.

References
----------
.. [1] Keras 3, ``keras/src/callbacks/tensorboard.py``: ``_global_train_batch`` is raised before
   each batch; with ``update_freq=N`` it logs at multiples of N; ``evaluation_*_vs_iterations`` is
   logged at the optimizer's count of finished batches.
.. [2] TensorFlow 1 and Estimators, ``basic_session_run_hooks.py``: ``SummarySaverHook`` reads the
   global step after the batch, ``StepCounterHook`` writes ``global_step/sec`` beside it;
   ``estimator.py`` evaluates at the number of finished batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forensics.domain.quantity import Fidelity, Quantity, StepAxis
from forensics.sources.curve_pairs import near_pairs
from forensics.sources.tags import Counting, Meaning

_MIN_MATCHES = 3
"""Equal values at lag one that are believed, if they are also `_DOMINANCE` times those at lag 0."""
_DOMINANCE = 3
_SAME = 1e-6
"""Relative difference of equal values: both were rounded to float32."""
_MONITORED = "global_step/sec"
"""Tag that tells a monitored session of TensorFlow 1, so an Estimator."""
_MIN_EPOCHS = 3
"""Validated steps in a row that show that each of them is an epoch."""


@dataclass(slots=True)
class Draft:
    """A series whose axis is being settled."""

    writer: str
    tag: str
    meaning: Meaning
    steps: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    wall_times: npt.NDArray[np.float64]
    lossy: bool = False
    axis: StepAxis = StepAxis.BATCH
    shift: int = 0
    fidelity: Fidelity = Fidelity.EVENT
    watched: bool = False

    @property
    def index(self) -> npt.NDArray[np.int64]:
        """Steps after the shift."""
        return self.steps - self.shift if self.shift else self.steps


def settle(drafts: Sequence[Draft]) -> None:
    """Set axis and shift of every series of a run."""
    for draft in drafts:
        draft.axis = _axis(draft)
    _recognise_unsaid_epochs(drafts)
    groups = _groups(draft for draft in drafts if draft.axis is StepAxis.BATCH)
    monitored = {draft.writer for draft in drafts if draft.tag == _MONITORED}
    for group in groups:
        shift = _shift(group, monitored)
        for draft in group:
            draft.shift = shift
    _align(groups)


def _axis(draft: Draft) -> StepAxis:
    counting = draft.meaning.counting
    if counting is Counting.EPOCHS:
        return StepAxis.EPOCH
    if counting is Counting.MAYBE_EPOCHS:
        gaps = np.diff(draft.steps)
        return StepAxis.EPOCH if not len(gaps) or np.median(gaps) <= 1 else StepAxis.BATCH
    return StepAxis.BATCH


def _recognise_unsaid_epochs(drafts: Sequence[Draft]) -> None:
    """Find epochs in tags that do not say so: nobody validates after each of many batches.

    Where the validation loss was logged at the very steps of the training loss, all in a row, the
    loop logs once per epoch (``tf.summary.scalar('loss', ..., step=epoch)``).
    """
    unsaid = [d for d in drafts if d.meaning.counting is Counting.UNSAID and len(d.steps)]
    validated = {
        d.steps.tobytes()
        for d in unsaid
        if d.meaning.quantity is Quantity.VALIDATION_LOSS
        and len(d.steps) >= _MIN_EPOCHS
        and np.all(np.diff(d.steps) == 1)
    }
    if not validated:
        return
    trained = {d.steps.tobytes() for d in unsaid if d.meaning.quantity is Quantity.TRAIN_LOSS}
    epochs = validated & trained
    for draft in unsaid:
        if draft.steps.tobytes() in epochs:
            draft.axis = StepAxis.EPOCH


def _groups(drafts: Iterable[Draft]) -> list[list[Draft]]:
    """Series that share a counter: those of one writer and one convention."""
    found: dict[tuple[str, Counting], list[Draft]] = {}
    for draft in drafts:
        counting = draft.meaning.counting
        if counting is Counting.MAYBE_EPOCHS:
            counting = Counting.UNSAID
        found.setdefault((draft.writer, counting), []).append(draft)
    return list(found.values())


def _shift(group: Sequence[Draft], monitored: Set[str]) -> int:
    """How far a counter's first batch is from 0.

    `monitored` are the writers of monitored sessions, which count finished batches.
    """
    logged = [d.steps for d in group if len(d.steps)]
    if not logged:
        return 0
    first = min(int(steps.min()) for steps in logged)
    if first < 1:
        return 0
    counting = group[0].meaning.counting
    if counting is Counting.BATCHES_FROM_0:
        return 0
    if counting is Counting.ITERATIONS:
        return 1
    if counting is Counting.BATCHES_OF_KERAS:
        regular = all(not np.any(steps % first) for steps in logged)
        return int(regular and (first == 1 or max(map(len, logged)) > 1))
    if monitored and not monitored.isdisjoint(_folders(group[0].writer)):
        return 1
    # A lost record may have been the one of step 0.
    counted = any(steps[:2].tolist() == [1, 2] for steps in logged)
    return int(counted and first == 1 and not any(d.lossy for d in group))


def _folders(writer: str) -> Iterator[str]:
    """Yield a writer and the directories above it: ``eval`` lies below training."""
    yield "."
    yield writer
    while (end := writer.rfind("/")) > 0:
        writer = writer[:end]
        yield writer


def _align(groups: Sequence[Sequence[Draft]]) -> None:
    """Align two writers of the same training loss whose values agree one step apart."""
    carriers = [
        (group, loss)
        for group in groups
        for loss in group
        if loss.meaning.quantity is Quantity.TRAIN_LOSS
    ]
    curves = [(loss.index, loss.values) for _, loss in carriers]
    for i, j in near_pairs(curves, _MIN_MATCHES):
        (one, first), (other, second) = carriers[i], carriers[j]
        if first.writer == second.writer:
            continue
        lag = _lag(first, second)
        ahead = {1: other, -1: one}.get(lag)
        if ahead is not None and min(int(d.index.min()) for d in ahead if len(d.steps)) > 0:
            for draft in ahead:
                draft.shift += 1


def _lag(first: Draft, second: Draft) -> int:
    """By how many steps the same values come later in `second`: -1, 0 or 1."""
    matches = {lag: _matches(first, second, lag) for lag in (-1, 0, 1)}
    best = max((-1, 1), key=matches.__getitem__)
    enough = max(_MIN_MATCHES, _DOMINANCE * matches[0] + 1)
    return best if matches[best] >= enough else 0


def _matches(first: Draft, second: Draft, lag: int) -> int:
    """Count the steps at which `first` changes to a value that `second` has `lag` later."""
    own, at = np.unique(first.index, return_index=True)
    others, there = np.unique(second.index - lag, return_index=True)
    _, mine, theirs = np.intersect1d(own, others, assume_unique=True, return_indices=True)
    values = first.values[at][mine]
    others_values = second.values[there][theirs]
    with np.errstate(invalid="ignore"):
        same = np.abs(values - others_values) <= _SAME * np.abs(values)
        changed = np.ones(len(values), bool)
        changed[1:] = values[1:] != values[:-1]
    return int(np.count_nonzero(same & changed))
