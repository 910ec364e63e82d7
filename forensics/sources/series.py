"""From the scalars of all writers to series: what each measures, on which axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from forensics.domain.quantity import Quantity
from forensics.domain.run import Series
from forensics.sources.events.writers import Writer
from forensics.sources.step_axes import Draft, settle
from forensics.sources.tags import Meaning, is_residual, meaning

_NEVER_NEGATIVE = (Quantity.GRADIENT_NORM, Quantity.WEIGHT_NORM)


def series_of(writers: Iterable[Writer], logged: Iterable[Draft] = ()) -> tuple[Series, ...]:
    """Series of all writers and other logs, classified, on 0-based batch or epoch axes."""
    drafts = [
        Draft(
            writer.name,
            tag,
            meaning(tag, writer.name),
            column.steps,
            column.values,
            column.wall_times,
            lossy=writer.lossy,
        )
        for writer in writers
        for tag, column in sorted(writer.columns.items())
    ]
    drafts += logged
    for draft in drafts:
        _doubt(draft)
    _stand_in(drafts)
    settle(drafts)
    return tuple(_series(draft) for draft in drafts)


def _doubt(draft: Draft) -> None:
    """Take back the meaning of a tag whose values contradict it."""
    found = draft.meaning
    if found.quantity in _NEVER_NEGATIVE and bool(np.any(draft.values < 0)):
        draft.meaning = Meaning(Quantity.OTHER, found.counting)


def _stand_in(drafts: Sequence[Draft]) -> None:
    """Let a squared or absolute error stand for the training loss where no loss was logged."""
    if any(d.meaning.quantity is Quantity.TRAIN_LOSS for d in drafts):
        return
    for draft in drafts:
        if is_residual(draft.tag, draft.writer):
            draft.meaning = Meaning(Quantity.TRAIN_LOSS, draft.meaning.counting)


def _series(draft: Draft) -> Series:
    return Series(
        quantity=draft.meaning.quantity,
        tag=draft.tag,
        writer=draft.writer,
        step_axis=draft.axis,
        steps=draft.index,
        values=draft.values,
        wall_times=draft.wall_times,
        layer=draft.meaning.layer,
        shift=draft.shift,
        fidelity=draft.fidelity,
        watched=draft.watched,
    )
