"""Events on a chart: vertical marks whose labels do not overlap, and the checkpoints' symbols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forensics.report.numbers import count_of, step
from forensics.report.scales import Scale

ROWS = (11.0, 25.0)
"""Baselines of the two rows of labels above the plot."""
_CHARACTER = 7.0
"""Width of a character of the labels (sans-serif of 12.5 px, the size on a phone)."""
_SYMBOL = 9.0
"""Checkpoints nearer than this (pixels) share a symbol, the worst of them."""

_PRIORITY = ("failure", "nonfinite", "replay", "change")
_WORST = ("poisoned", "damaged", "clean")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at a step of the chart's axis.

    ``kind`` is failure (first bad step), nonfinite (first NaN or Inf of this series), replay or
    change.
    """

    kind: str
    step: int
    label: str
    title: str
    interval: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint on the chart's axis."""

    step: int
    status: str
    path: str


@dataclass(frozen=True, slots=True)
class Events:
    """All that is marked on one chart."""

    marks: tuple[Event, ...] = ()
    checkpoints: tuple[Saved, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark in pixels; ``label`` is "" where there was no room, the title stays."""

    kind: str
    x: float
    title: str
    label: str
    label_x: float
    label_y: float
    start: float | None
    end: float | None


@dataclass(frozen=True, slots=True)
class Symbol:
    """Checkpoints as one symbol; its shape tells the status, not only its colour."""

    x: float
    status: str
    title: str


def place_marks(events: Events, x: Scale, left: float, right: float) -> tuple[Mark, ...]:
    """Place marks within the axis; the more important ones choose their label's place first."""
    inside = [e for e in events.marks if x.low <= e.step <= x.high]
    inside.sort(key=lambda e: (_PRIORITY.index(e.kind), e.step))
    taken: list[tuple[float, float, float]] = []
    marks = []
    for event in inside:
        at = x(event.step)
        width = len(event.label) * _CHARACTER
        center = min(max(at, left + width / 2 - 40), right + 12 - width / 2)
        row = _free_row(taken, center, width) if event.label else None
        if row is not None:
            taken.append((row, center - width / 2, center + width / 2))
        low, high = event.interval or (event.step, event.step)
        wide = high > low
        marks.append(
            Mark(
                kind=event.kind,
                x=round(at, 1),
                title=event.title,
                label=event.label if row is not None else "",
                label_x=round(center, 1),
                label_y=row or 0.0,
                start=round(x(low), 1) if wide else None,
                end=round(x(high), 1) if wide else None,
            )
        )
    # Drawn in reverse, so that the most important mark lies on top.
    return tuple(reversed(marks))


def _free_row(
    taken: Sequence[tuple[float, float, float]], center: float, width: float
) -> float | None:
    low, high = center - width / 2 - 4, center + width / 2 + 4
    for row in reversed(ROWS):
        if all(other != row or high <= a or low >= b for other, a, b in taken):
            return row
    return None


def checkpoint_symbols(checkpoints: Sequence[Saved], x: Scale) -> tuple[Symbol, ...]:
    """Place checkpoints within the axis, neighbours as one symbol of the worst status."""
    groups: list[list[Saved]] = []
    # A checkpoint saved after the last step holds the state of one more.
    inside = [c for c in checkpoints if x.low <= c.step <= x.high + 1]
    for saved in sorted(inside, key=lambda c: c.step):
        same = groups and saved.status == groups[-1][-1].status
        if same and x(saved.step) - x(groups[-1][0].step) < _SYMBOL:
            groups[-1].append(saved)
        else:
            groups.append([saved])
    return tuple(_symbol(group, x) for group in groups)


def _symbol(group: Sequence[Saved], x: Scale) -> Symbol:
    worst = min((c.status for c in group), key=_rank)
    first, last = group[0], group[-1]
    if len(group) == 1:
        title = f"{first.path}, step {step(first.step)}: {first.status}"
    else:
        where = f"steps {step(first.step)}–{step(last.step)}"
        title = f"{count_of(len(group), 'checkpoint')}, {where}: {worst}"
    return Symbol(round((x(first.step) + x(last.step)) / 2, 1), worst, title)


def _rank(status: str) -> int:
    return _WORST.index(status) if status in _WORST else len(_WORST)
