"""From the scalars of all writers to series: what each measures, on which axis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from forensics.domain.quantity import Quantity
from forensics.domain.run import ReadWarning, Series
from forensics.sources.events.writers import Writer
from forensics.sources.step_axes import Draft, settle
from forensics.sources.tags import Counting, Meaning, is_residual, meaning

_MOST_MEANINGS = 20_000
"""Series whose tags are interpreted, which takes some 40 µs each: nobody looks at more of them."""
_MOST_SERIES = 200_000
"""Series that are kept of a run, at some 700 bytes each besides their points."""
_NO_MEANING = Meaning(Quantity.OTHER, Counting.UNSAID)
_NEVER_NEGATIVE = (Quantity.GRADIENT_NORM, Quantity.WEIGHT_NORM)


def series_of(writers: Iterable[Writer], logged: Iterable[Draft] = ()) -> tuple[Series, ...]:
    """Series of all writers and other logs, classified, on 0-based batch or epoch axes."""
    written = (draft for writer in writers for draft in _drafts(writer))
    drafts = [*islice(written, _MOST_SERIES), *logged]
    for draft in drafts[:_MOST_MEANINGS]:
        if draft.meaning is _NO_MEANING:
            draft.meaning = meaning(draft.tag, draft.writer)
    for draft in drafts:
        _doubt(draft)
    _stand_in(drafts)
    settle(drafts)
    return tuple(_series(draft) for draft in drafts)


def _drafts(writer: Writer) -> Iterator[Draft]:
    """Series of a writer in the order of their tags, not interpreted yet."""
    columns, lossy = writer.columns, writer.lossy
    for index in sorted(range(len(columns)), key=columns.tags.__getitem__):
        column = columns.column(index)
        points = (column.steps, column.values, column.wall_times)
        yield Draft(writer.name, columns.tags[index], _NO_MEANING, *points, lossy=lossy)


def too_many(series: Sequence[Series], writers: Iterable[Writer]) -> Iterator[ReadWarning]:
    """Say that there were too many tags to keep, or to ask what each of them means."""
    if len(series) >= _MOST_SERIES:
        total = sum(len(writer.columns) for writer in writers)
        if total > _MOST_SERIES:
            detail = f"{total - _MOST_SERIES} of {total} series were left out"
            yield ReadWarning(".", None, "limit", detail)
    rest = len(series) - _MOST_MEANINGS
    if rest > 0:
        detail = f"{rest} of {len(series)} series were read, but what their tags mean was not asked"
        yield ReadWarning(".", None, "limit", detail)


def _doubt(draft: Draft) -> None:
    """Take back the meaning of a tag whose values contradict it."""
    found = draft.meaning
    if found.quantity in _NEVER_NEGATIVE and bool(np.any(draft.values < 0)):
        draft.meaning = Meaning(Quantity.OTHER, found.counting)


def _stand_in(drafts: Sequence[Draft]) -> None:
    """Let a squared or absolute error stand for the training loss where no loss was logged."""
    if any(d.meaning.quantity is Quantity.TRAIN_LOSS for d in drafts):
        return
    for draft in drafts[:_MOST_MEANINGS]:
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
