"""Geometry of the charts."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.report.charts import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Curve,
    Panel,
    Point,
    draw_panel,
    draw_spark,
)
from forensics.report.contract import read_document
from forensics.report.curves import curve_of, figures
from forensics.report.marks import Event, Events, Saved, checkpoint_symbols, place_marks
from forensics.report.scales import step_scale, value_scale
from tests.report.documents import ALL, nan_report


def curve(values: list[float], positive: bool = True, start: int = 0) -> Curve:
    steps = list(enumerate(values, start))
    return Curve(
        tuple(Point(s, v, v, v) for s, v in steps if math.isfinite(v)),
        tuple((s, v) for s, v in steps if not math.isfinite(v)),
        positive,
    )


def corners(path: str) -> list[list[tuple[float, float]]]:
    """The absolute corners of a path of the charts, one list for each piece."""
    pieces = []
    for piece in filter(None, path.split("M")):
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", piece)]
        x, y = numbers[:2]
        points = [(x, y)]
        for dx, dy in zip(numbers[2::2], numbers[3::2], strict=True):
            x, y = x + dx, y + dy
            points.append((round(x, 1), round(y, 1)))
        pieces.append(points)
    return pieces


def panel(drawn: Curve, high: int) -> Panel:
    return draw_panel(drawn, Events(), 0, high, caption="", label="", axis="batch")


@pytest.mark.parametrize(
    ("values", "positive", "kind"),
    [
        ([1.0, 2.0, 90.0], True, "linear"),
        ([1.0, 2.0, 150.0], True, "log"),
        ([1e-30, 1e30], True, "log"),
        ([1.0, 2.0, 150.0], False, "linear"),
        ([0.0, 1.0, 2.0, 1e9], True, "symlog"),
        ([-1.0, 1.0, 2.0, 1e9], False, "symlog"),
        ([-5.0, 5.0], False, "linear"),
        ([0.0, 0.0], True, "linear"),
    ],
)
def test_the_axis_follows_the_values(values: list[float], positive: bool, kind: str) -> None:
    scale, ticks = value_scale(values, positive=positive, start=200, end=0)
    assert scale.kind == kind
    assert 1 <= len(ticks) <= 10
    assert len({tick.label for tick in ticks}) == len(ticks)
    assert all(0 <= tick.at <= 200 for tick in ticks)


def test_ticks_are_round_numbers() -> None:
    _, ticks = value_scale([0.0, 2.4], positive=True, start=200, end=0)
    assert [t.label for t in ticks] == ["0", "0.5", "1.0", "1.5", "2.0", "2.5"]
    _, steps = step_scale(0, 949_999, start=0, end=100)
    assert [t.label for t in steps] == ["0", "200,000", "400,000", "600,000", "800,000"]
    _, short = step_scale(3, 4, start=0, end=100)
    assert [t.label for t in short] == ["3", "4"]


numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(numbers, max_size=60), st.booleans())
def test_every_curve_is_drawn_inside_the_plot(values: list[float], positive: bool) -> None:
    drawn = panel(curve(values, positive), 59)
    for piece in corners(drawn.line):
        for x, y in piece:
            assert LEFT - 0.6 <= x <= RIGHT + 0.6
            assert TOP - 3 <= y <= BOTTOM + 3
    assert "nan" not in drawn.line + drawn.band
    assert "inf" not in drawn.line + drawn.band
    draw_spark(curve(values, positive))


def test_a_line_is_cut_where_a_value_is_not_finite() -> None:
    drawn = panel(curve([1.0, 2.0, math.nan, 3.0, math.inf, 4.0]), 5)
    assert [len(piece) for piece in corners(drawn.line)] == [2, 2, 2]
    assert [zone.title for zone in drawn.zones] == ["NaN at step 2", "Inf at step 4"]
    assert len(drawn.crosses) == 2


def test_a_dead_tail_reaches_the_edge() -> None:
    drawn = panel(curve([1.0] * 50 + [math.nan] * 10), 99)
    (zone,) = drawn.zones
    assert zone.title == "NaN at steps 50–59"
    assert zone.x + zone.width == pytest.approx(RIGHT + 1)


def test_points_of_one_column_become_a_band_and_a_median() -> None:
    points = tuple(Point(s, float(s % 7), 0.0, 6.0) for s in range(10_000))
    drawn = panel(Curve(points, (), True), 9_999)
    (line,) = corners(drawn.line)
    assert 150 <= len(line) <= 260
    assert drawn.band.endswith("Z")
    assert len(drawn.hovers) == 32


def test_the_band_is_left_out_where_nothing_was_merged() -> None:
    drawn = panel(curve([1.0, 2.0]), 1)
    assert drawn.band == ""


@given(st.lists(st.tuples(st.integers(0, 999), st.text("abc 0", max_size=20)), max_size=12))
def test_labels_of_marks_never_overlap(marks: list[tuple[int, str]]) -> None:
    scale, _ = step_scale(0, 999, start=LEFT, end=RIGHT)
    events = Events(tuple(Event("change", at, label, label) for at, label in marks))
    placed = place_marks(events, scale, LEFT, RIGHT)
    assert len(placed) == len(marks)
    boxes = [
        (m.label_y, m.label_x - len(m.label) * 3.5, m.label_x + len(m.label) * 3.5)
        for m in placed
        if m.label
    ]
    for i, (row, low, high) in enumerate(boxes):
        assert all(r != row or high <= a or low >= b for r, a, b in boxes[i + 1 :])


def test_the_most_important_label_is_kept() -> None:
    scale, _ = step_scale(0, 999, start=LEFT, end=RIGHT)
    crowd = [Event("change", 500 + i, "level", "") for i in range(6)]
    failure = Event("failure", 503, "NaN at step 503", "")
    placed = place_marks(Events((*crowd, failure)), scale, LEFT, RIGHT)
    assert placed[-1].kind == "failure"
    assert placed[-1].label == "NaN at step 503"
    assert sum(1 for m in placed if not m.label) >= 4


def test_neighbouring_checkpoints_share_a_symbol_but_not_across_states() -> None:
    scale, _ = step_scale(0, 100_000, start=LEFT, end=RIGHT)
    saved = [Saved(s, "clean" if s < 500 else "poisoned", f"c{s}") for s in range(0, 1000, 100)]
    symbols = checkpoint_symbols(saved, scale)
    assert [(s.status, s.title) for s in symbols] == [
        ("clean", "5 checkpoints, steps 0–400: clean"),
        ("poisoned", "5 checkpoints, steps 500–900: poisoned"),
    ]


def test_the_loss_comes_first_and_gets_a_closer_look_at_the_failure() -> None:
    drawn = figures(read_document(nan_report()))
    assert [f.title for f in drawn] == [
        "Training loss",
        "Validation loss",
        "Gradient norm",
        "Learning rate",
    ]
    assert [len(f.panels) for f in drawn] == [2, 1, 2, 2]
    assert drawn[0].panels[1].caption == "Near the first bad step: steps 59–157"
    assert drawn[0].panels[0].scale == "log"


def test_steps_of_batches_are_not_marked_on_epochs() -> None:
    drawn = figures(read_document(nan_report()))
    validation = drawn[1].panels[0]
    assert [m.kind for m in validation.marks] == ["nonfinite"]
    assert validation.checkpoints == ()


def test_a_failure_known_by_epoch_is_marked_on_epochs() -> None:
    (figure,) = figures(read_document(ALL["epoch"]()))
    (mark,) = figure.panels[0].marks
    assert (mark.kind, mark.label) == ("failure", "NaN at epoch 3")


def test_values_that_are_missing_or_not_finite_become_breaks() -> None:
    made = curve_of(
        {
            "quantity": "train_loss",
            "steps": [3, 1, 2, 0],
            "values": [4.0, math.nan, None, 1.0],
            "low": [],
            "high": [5.0, 5.0, 5.0, 5.0],
            "nonfinite": [{"step": 7, "value": math.inf}],
        }
    )
    assert made.points == (Point(0, 1.0, 1.0, 5.0), Point(3, 4.0, 4.0, 5.0))
    assert [s for s, _ in made.bad] == [1, 7]
    assert made.span == (0, 7)
