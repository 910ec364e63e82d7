from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from forensics.signals import segment
from tests.signals.curves import Floats


def steps(rng: np.random.Generator, levels: list[float], length: int, sigma: float = 1.0) -> Floats:
    clean = np.repeat(np.array(levels), length)
    return np.asarray(clean + sigma * rng.standard_normal(clean.shape[0]))


@pytest.mark.parametrize("seed", range(5))
def test_steps_are_found_where_they_are(seed: int) -> None:
    found = segment(steps(np.random.default_rng(seed), [0.0, 8.0, -2.0, 9.0], 60))
    assert len(found) == 3
    assert np.abs(np.array(found) - [60, 120, 180]).max() <= 2


@pytest.mark.parametrize("seed", range(5))
def test_a_kink_is_one_change_and_a_line_none(seed: int) -> None:
    rng = np.random.default_rng(seed)
    time = np.arange(200.0)
    kink = np.abs(time - 120.0) + rng.standard_normal(200)
    found = segment(kink)
    assert len(found) == 1
    assert abs(found[0] - 120) <= 12
    assert segment(0.3 * time + rng.standard_normal(200)) == ()


@pytest.mark.parametrize("seed", range(5))
def test_outliers_make_no_segments(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = steps(rng, [0.0, 10.0], 100)
    values[[20, 70, 150]] = [1e6, -1e9, 1e12]
    found = segment(values)
    assert len(found) == 1
    assert abs(found[0] - 100) <= 2


def test_a_change_in_one_of_several_dimensions_counts() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((150, 3))
    values[90:, 1] += 12.0
    assert len(segment(values)) == 1
    assert abs(segment(values)[0] - 90) <= 2


def test_a_dimension_that_says_nothing_changes_nothing() -> None:
    values = steps(np.random.default_rng(1), [0.0, 8.0], 80)
    beside = np.column_stack([values, np.full(160, np.nan), np.full(160, 3.0)])
    assert segment(beside) == segment(values)


def test_gaps_do_not_hide_a_change() -> None:
    rng = np.random.default_rng(2)
    values = steps(rng, [0.0, 9.0], 100)
    values[rng.choice(200, 30, replace=False)] = np.nan
    found = segment(values)
    assert len(found) == 1
    assert abs(found[0] - 100) <= 6


def test_unit_and_origin_do_not_matter() -> None:
    values = steps(np.random.default_rng(3), [0.0, 5.0, 1.0], 70)
    assert segment(values * 1e-4 - 7.0) == segment(values)


def test_a_long_series_is_dated_to_a_block() -> None:
    values = steps(np.random.default_rng(4), [0.0, 4.0], 10_000)
    found = segment(values)
    assert len(found) == 1
    assert abs(found[0] - 10_000) <= 10


@pytest.mark.parametrize(
    "values",
    [[], [1.0], [1.0, 2.0], [3.0] * 50, [np.nan] * 50, [np.inf] * 9, np.empty((0, 3)), 5.0],
)
def test_what_says_nothing_has_no_change_points(values: object) -> None:
    assert segment(np.asarray(values, dtype=np.float64)) == ()


def test_three_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="one or two dimensions"):
        segment(np.zeros((2, 2, 2)))


@settings(deadline=None, max_examples=150)
@given(
    arrays(
        np.float64,
        array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=60),
        elements=st.floats(allow_nan=True, allow_infinity=True, width=64),
    )
)
def test_no_array_makes_it_raise(values: Floats) -> None:
    found = segment(values)
    assert list(found) == sorted(set(found))
    assert all(0 < index < values.shape[0] for index in found)
