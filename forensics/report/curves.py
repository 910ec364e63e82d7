"""Which series are drawn, over which steps, and what a chart says in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forensics.domain.loss_tags import loss_role
from forensics.report.charts import Curve, Panel, Point, Spark, draw_panel, draw_spark
from forensics.report.marks import Event, Events, Saved
from forensics.report.numbers import count_of, interval, number, step
from forensics.report.words import CHANGE, QUANTITY, plain

DRAWN = ("train_loss", "validation_loss", "gradient_norm", "learning_rate")
"""Quantities with charts of their own, in this order; all others are sparklines in a table."""

AROUND = 200
"""Steps on both sides of the first bad step in the second panel, fewer in a short run."""

SPARKS = 150
"""Series with a sparkline; further ones are listed without, to bound the page."""

_POSITIVE = {*DRAWN, "weight_norm", "update_ratio", "loss_scale", "activation_std"}

Section = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """A series with its charts; ``summary`` is the text alternative, shown to everybody."""

    title: str
    tag: str
    writer: str
    summary: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A series in the table of all metrics."""

    tag: str
    writer: str
    quantity: str
    first_step: int | None
    last_step: int | None
    last_finite: float | None
    low: float | None
    high: float | None
    bad: int
    spark: Spark | None


def curve_of(series: Section) -> Curve:
    """Return a section of ``series`` as points; values that are not finite become breaks."""
    bad = {p["step"]: float(p["value"]) for p in series["nonfinite"]}
    lows = _beside(series["low"], series["values"])
    highs = _beside(series["high"], series["values"])
    points = []
    for at, value, low, high in zip(series["steps"], series["values"], lows, highs, strict=False):
        if value is None:
            continue
        if not math.isfinite(value):
            bad.setdefault(at, float(value))
            continue
        ends = [v for v in (low, high, value) if v is not None and math.isfinite(v)]
        points.append(Point(at, value, min(ends), max(ends)))
    # A restart may write steps again.
    points.sort(key=lambda p: p.step)
    return Curve(tuple(points), tuple(sorted(bad.items())), series["quantity"] in _POSITIVE)


def _beside(values: Sequence[float | None], others: Sequence[Any]) -> Sequence[float | None]:
    return values if len(values) == len(others) else [None] * len(others)


def figures(document: Section) -> tuple[Figure, ...]:
    """Return the charts of the page, loss first; two losses are never hidden behind each other."""
    drawn = []
    for quantity in DRAWN:
        chosen = _chosen(document, quantity)
        if chosen is not None:
            drawn.append(_figure(chosen, document))
    return tuple(drawn)


def _chosen(document: Section, quantity: str) -> Section | None:
    """Return the series that stands for a quantity: batches before epochs, totals before parts."""
    same = [s for s in document["series"] if s["quantity"] == quantity and curve_of(s).span]
    bad_tag = document["verdict"]["first_bad_tag"]
    return min(
        same,
        key=lambda s: (
            s["step_axis"] != "batch",
            s["tag"] != bad_tag,
            loss_role(s["tag"]) if quantity == "train_loss" else 0,
            s["tag"].count("/"),
            len(s["tag"]),
            s["tag"],
            s["writer"],
        ),
        default=None,
    )


def _figure(series: Section, document: Section) -> Figure:
    curve = curve_of(series)
    events = _events(series, curve, document)
    span = curve.span or (0, 0)
    axis = series["step_axis"]
    noun = "steps" if axis == "batch" else "epochs"
    title = QUANTITY[series["quantity"]]
    windows = [("Whole run", *span)]
    near = _window(document, span) if axis == document["verdict"]["step_axis"] else None
    if near is not None:
        inside = curve.within(*near)
        if len(inside.points) + len(inside.bad) >= 3:
            windows.append(("Near the first bad step", *near))
    panels = tuple(
        draw_panel(
            curve,
            events,
            low,
            high,
            caption=f"{name}: {noun} {step(low)}–{step(high)}",
            label=f"{title} ({series['tag']}), {name.lower()}, {noun} {step(low)} to {step(high)}",
            axis=axis,
        )
        for name, low, high in windows
    )
    return Figure(title, series["tag"], series["writer"], _summary(curve, axis), panels)


def _window(document: Section, span: tuple[int, int]) -> tuple[int, int] | None:
    """Return the steps round the first bad one, None when the whole run is hardly longer."""
    at = document["verdict"]["first_bad_step"]
    if at is None or not span[0] <= at <= span[1]:
        return None
    half = max(10, min(AROUND, (span[1] - span[0]) // 10))
    window = (max(span[0], at - half), min(span[1], at + half))
    return window if (window[1] - window[0]) * 2 <= span[1] - span[0] else None


def _events(series: Section, curve: Curve, document: Section) -> Events:
    axis, verdict = series["step_axis"], document["verdict"]
    noun = "step" if axis == "batch" else "epoch"
    marks = []
    first_bad = verdict["first_bad_step"] if verdict["step_axis"] == axis else None
    own_bad = curve.bad[0] if curve.bad else None
    if first_bad is not None:
        label = f"first bad {noun} {step(first_bad)}"
        if own_bad and own_bad[0] == first_bad:
            label, own_bad = f"{number(own_bad[1])} at {noun} {step(first_bad)}", None
        bounds = verdict["first_bad_step_interval"]
        title = f"First bad {noun}: {step(first_bad)} (between {interval(bounds)})"
        marks.append(Event("failure", first_bad, label, title, tuple(bounds) if bounds else None))
    if own_bad:
        text = f"{number(own_bad[1])} from {step(own_bad[0])}"
        marks.append(Event("nonfinite", own_bad[0], text, f"First value that is {text}"))
    replayed = document["replay"]["step"]
    if axis == "batch" and replayed is not None:
        label = "" if replayed == first_bad else f"replayed {step(replayed)}"
        marks.append(Event("replay", replayed, label, f"Step {step(replayed)} was replayed"))
    # Where a curve is not finite shows anyway.
    changes = [p for p in document["change_points"] if p["kind"] != "non_finite"]
    marks += [_change(p) for p in changes if _same(p, series)]
    saved = [
        Saved(c["step"], c["status"], c["path"])
        for c in document["checkpoints"]
        if c["step"] is not None and axis == "batch"
    ]
    return Events(tuple(marks), tuple(saved))


def _same(point: Section, series: Section) -> bool:
    return all(point[key] == series[key] for key in ("tag", "step_axis"))


def _change(point: Section) -> Event:
    effect = f" ×{number(point['effect'], 2)}" if point["effect"] is not None else ""
    level = f", {number(point['level'] * 100, 3)} % interval" if point["level"] is not None else ""
    what = CHANGE.get(point["kind"], plain(point["kind"]))
    title = f"Change: {what}{effect} at step {step(point['step'])}"
    title += f" (between {interval(point['interval'])}{level})"
    label = f"{plain(point['kind'])}{effect}"
    return Event("change", point["step"], label, title, tuple(point["interval"]))


def _summary(curve: Curve, axis: str) -> str:
    """Return what the chart shows in words."""
    noun = "step" if axis == "batch" else "epoch"
    if not curve.points:
        return f"No finite value; {count_of(len(curve.bad), 'point')} NaN or Inf."
    first, last = curve.points[0], curve.points[-1]
    low = min(curve.points, key=lambda p: p.low)
    high = max(curve.points, key=lambda p: p.high)
    parts = [
        f"Starts at {number(first.value)} ({noun} {step(first.step)})",
        f"lowest {number(low.low)} ({noun} {step(low.step)})",
        f"highest {number(high.high)} ({noun} {step(high.step)})",
        f"last finite value {number(last.value)} ({noun} {step(last.step)})",
    ]
    if curve.bad:
        at, value = curve.bad[0]
        parts.append(
            f"{count_of(len(curve.bad), 'point')} NaN or Inf, the first is {number(value)} "
            f"at {noun} {step(at)}"
        )
    return "; ".join(parts) + "."


def metric_rows(document: Section) -> tuple[MetricRow, ...]:
    """Return one row for every series, ordered by quantity, writer and tag."""
    order = [*QUANTITY]
    ranked = sorted(
        document["series"],
        key=lambda s: (
            order.index(s["quantity"]) if s["quantity"] in order else len(order),
            s["tag"],
            s["writer"],
        ),
    )
    return tuple(_metric_row(s, with_spark=i < SPARKS) for i, s in enumerate(ranked))


def _metric_row(series: Section, *, with_spark: bool) -> MetricRow:
    curve = curve_of(series)
    span = curve.span or (None, None)
    return MetricRow(
        tag=series["tag"],
        writer=series["writer"],
        quantity=QUANTITY.get(series["quantity"], plain(series["quantity"])),
        first_step=span[0],
        last_step=span[1],
        last_finite=curve.points[-1].value if curve.points else None,
        low=min((p.low for p in curve.points), default=None),
        high=max((p.high for p in curve.points), default=None),
        bad=len(curve.bad),
        spark=draw_spark(curve) if with_spark else None,
    )
