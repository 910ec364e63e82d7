"""Geometry of a chart: what is drawn where, in pixels. The template computes nothing."""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from forensics.report.marks import Events, Mark, Symbol, checkpoint_symbols, place_marks
from forensics.report.numbers import number, step
from forensics.report.scales import Scale, Tick, step_scale, value_scale

WIDTH, HEIGHT = 480, 250
LEFT, RIGHT, TOP, BOTTOM = 62, 464, 34, 196
LANE = 232
"""Where the checkpoints stand, below the axis."""

COLUMN = 2.0
"""Points nearer than this (pixels) are drawn as one: their extremes and their median."""

HOVERS = 32
"""Number of zones that tell their values when pointed at."""


@dataclass(frozen=True, slots=True)
class Point:
    """A finite point of a curve: the median, lowest and highest value of what it stands for."""

    step: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A series as it is drawn; ``bad`` are its non-finite points (step, value), by step."""

    points: tuple[Point, ...]
    bad: tuple[tuple[int, float], ...]
    positive: bool

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last step, None for an empty curve."""
        ends = [p.step for p in (self.points[:1] + self.points[-1:])]
        ends += [s for s, _ in (self.bad[:1] + self.bad[-1:])]
        return (min(ends), max(ends)) if ends else None

    def within(self, low: int, high: int) -> Curve:
        """Return the part between two steps, both inclusive."""
        return Curve(
            tuple(p for p in self.points if low <= p.step <= high),
            tuple(b for b in self.bad if low <= b[0] <= high),
            self.positive,
        )


@dataclass(frozen=True, slots=True)
class Zone:
    """A rectangle over the height of the plot, with what it tells when pointed at."""

    x: float
    width: float
    title: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: paths of the line and of the band, ticks, marks."""

    caption: str
    label: str
    axis: str
    scale: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    line: str
    band: str
    zones: tuple[Zone, ...]
    crosses: tuple[float, ...]
    hovers: tuple[Zone, ...]
    marks: tuple[Mark, ...]
    checkpoints: tuple[Symbol, ...]


@dataclass(frozen=True, slots=True)
class Spark:
    """A small curve in a table row; crosses stand where it is not finite."""

    width: float
    height: float
    line: str
    crosses: tuple[float, ...]


def draw_panel(
    curve: Curve, events: Events, low: int, high: int, *, caption: str, label: str, axis: str
) -> Panel:
    """Lay out the part of ``curve`` between the steps ``low`` and ``high`` with its events."""
    part = curve.within(low, high)
    x, x_ticks = step_scale(low, high, start=LEFT, end=RIGHT)
    extremes = [v for p in part.points for v in (p.low, p.high)] or [0.0, 1.0]
    y, y_ticks = value_scale(extremes, positive=curve.positive, start=BOTTOM, end=TOP)
    shown = _columns(part.points, x, COLUMN)
    breaks = [x(s) for s, _ in part.bad]
    return Panel(
        caption=caption,
        label=label,
        axis=axis,
        scale=y.kind,
        x_ticks=x_ticks,
        y_ticks=y_ticks if part.points else (),
        line=_line(shown, breaks, y),
        band=_band(shown, breaks, y),
        zones=tuple(_bad_zones(part, x, high)),
        crosses=tuple(_spread(breaks, 16.0)),
        hovers=tuple(_hovers(part, x, axis)),
        marks=place_marks(events, x, LEFT, RIGHT),
        checkpoints=checkpoint_symbols(events.checkpoints, x),
    )


def draw_spark(curve: Curve, width: float = 120, height: float = 26) -> Spark:
    """Lay out a curve without axes."""
    span = curve.span
    if span is None:
        return Spark(width, height, "", ())
    x, _ = step_scale(*span, start=3, end=width - 3)
    extremes = [v for p in curve.points for v in (p.low, p.high)] or [0.0, 1.0]
    y, _ = value_scale(extremes, positive=curve.positive, start=height - 3, end=3)
    breaks = [x(s) for s, _ in curve.bad]
    shown = _columns(curve.points, x, COLUMN)
    return Spark(width, height, _line(shown, breaks, y), tuple(_spread(breaks, 8.0)))


_Column = tuple[float, float, float, float]


def _columns(points: Sequence[Point], x: Scale, width: float) -> list[_Column]:
    """Merge points of one pixel column to (x, median, lowest, highest)."""
    columns: dict[int, list[tuple[float, Point]]] = {}
    for point in points:
        at = x(point.step)
        columns.setdefault(int(at // width), []).append((at, point))
    return [
        (
            sum(at for at, _ in group) / len(group),
            statistics.median(p.value for _, p in group),
            min(p.low for _, p in group),
            max(p.high for _, p in group),
        )
        for _, group in sorted(columns.items())
    ]


def _pieces(columns: Sequence[_Column], breaks: Sequence[float]) -> Iterator[list[_Column]]:
    """Cut where a non-finite point lies between two columns: a line across would invent values."""
    piece: list[_Column] = []
    for column in columns:
        if piece:
            after = bisect.bisect_right(breaks, piece[-1][0])
            if after < len(breaks) and breaks[after] < column[0]:
                yield piece
                piece = []
        piece.append(column)
    if piece:
        yield piece


def _line(columns: Sequence[_Column], breaks: Sequence[float], y: Scale) -> str:
    """Return the path of the medians; a lone point becomes a dot (round line caps)."""
    parts = []
    for piece in _pieces(columns, breaks):
        corners = [(at, y(middle)) for at, middle, _, _ in piece]
        parts.append(_path(corners if len(corners) > 1 else corners * 2))
    return "".join(parts)


def _band(columns: Sequence[_Column], breaks: Sequence[float], y: Scale) -> str:
    """Return the path of the area between lowest and highest, "" where they are the same."""
    if all(low == high for _, _, low, high in columns):
        return ""
    parts = []
    for piece in _pieces(columns, breaks):
        upper = [(at, y(high)) for at, _, _, high in piece]
        lower = [(at, y(low)) for at, _, low, _ in reversed(piece)]
        parts.append(_path([*upper, *lower]) + "Z")
    return "".join(parts)


def _path(corners: Sequence[tuple[float, float]]) -> str:
    """Return an SVG path in steps of 0.1 pixel, relative: a third of the bytes."""
    tenths = [(round(a * 10), round(b * 10)) for a, b in corners]
    (a, b), *rest = tenths
    path = [f"M{_tenth(a)} {_tenth(b)}l"]
    for c, d in rest:
        path.append(f"{_tenth(c - a)} {_tenth(d - b)} ")
        a, b = c, d
    return "".join(path).rstrip()


def _tenth(tenths: int) -> str:
    whole, rest = divmod(abs(tenths), 10)
    sign = "-" if tenths < 0 else ""
    return f"{sign}{whole}" + (f".{rest}" if rest else "")


def _bad_zones(curve: Curve, x: Scale, last_step: int) -> Iterator[Zone]:
    """Yield stretches without a finite point; one that ends the curve reaches to the edge."""
    finite = [p.step for p in curve.points]
    groups: dict[int, list[tuple[int, float]]] = {}
    for bad in curve.bad:
        groups.setdefault(bisect.bisect_left(finite, bad[0]), []).append(bad)
    for position, group in sorted(groups.items()):
        first, last = group[0][0], group[-1][0]
        start = x(first)
        end = x(last_step if position == len(finite) else last)
        names = sorted({number(v) for _, v in group})
        where = f"step {step(first)}" if first == last else f"steps {step(first)}–{step(last)}"
        title = f"{' and '.join(names)} at {where}"
        yield Zone(round(start - 1, 1), round(max(end - start + 2, 3), 1), title)


def _spread(positions: Sequence[float], gap: float) -> Iterator[float]:
    """Yield positions that are at least ``gap`` apart."""
    last = -math.inf
    for at in positions:
        if at - last >= gap:
            last = at
            yield round(at, 1)


def _hovers(curve: Curve, x: Scale, axis: str) -> Iterator[Zone]:
    if not curve.points:
        return
    width = max((x.end - x.start) / HOVERS, 1.0)
    noun = "step" if axis == "batch" else "epoch"
    groups: dict[int, list[Point]] = {}
    for point in curve.points:
        slot = min(int((x(point.step) - x.start) // width), HOVERS - 1)
        groups.setdefault(slot, []).append(point)
    for slot, group in sorted(groups.items()):
        first, last = group[0].step, group[-1].step
        where = f"{noun} {step(first)}" if first == last else f"{noun}s {step(first)}–{step(last)}"
        low, high = min(p.low for p in group), max(p.high for p in group)
        values = number(low) if low == high else f"{number(low)} … {number(high)}"
        yield Zone(round(x.start + slot * width, 1), round(width, 1), f"{where}: {values}")
