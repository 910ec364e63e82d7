"""The small functions: robust scale, non-finite spans, trend, thinning."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forensics.signals import (
    Span,
    downsample,
    first_non_finite,
    healthy_level,
    median_scale,
    non_finite_spans,
    theil_sen,
    winsorised_z,
)
from tests.signals.curves import Floats

any_floats = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True, width=64)
any_series = arrays(np.float64, st.integers(0, 80), elements=any_floats)


def test_the_scale_of_normal_noise_is_its_sigma_in_spite_of_outliers() -> None:
    values = 5.0 + 2.0 * np.random.default_rng(0).standard_normal(20_000)
    values[:1000] = 1e9
    middle, sigma = median_scale(values)
    assert middle == pytest.approx(5.0, abs=0.2)
    assert sigma == pytest.approx(2.0, rel=0.1)


def test_the_scale_of_mostly_equal_values_is_not_zero() -> None:
    assert median_scale(np.array([1.0] * 9 + [11.0]))[1] == pytest.approx(1.2533)
    assert median_scale(np.full(9, 4.0)) == (4.0, 0.0)
    assert np.isnan(median_scale(np.full(3, np.nan))).all()


def test_the_healthy_level_does_not_see_the_failure() -> None:
    values = np.array([2.0, 4.0, np.nan, 3.0, 1e30, np.inf])
    level = healthy_level(values, before=4)
    assert (level.median, level.finite) == (3.0, 3)
    assert level.spread == pytest.approx(1.4826)
    nothing = healthy_level(values, before=0)
    assert np.isnan(nothing.median) and nothing.finite == 0


def test_winsorised_values_keep_order_and_gaps() -> None:
    z = winsorised_z(np.array([0.0, 1.0, 2.0, 1e300, -np.inf, np.nan]))
    assert z[3] == 3.0 and z[4] == -3.0 and np.isnan(z[5])
    assert z[0] < z[1] < z[2]


@given(any_series)
def test_scales_never_raise(values: Floats) -> None:
    middle, sigma = median_scale(values)
    finite = values[np.isfinite(values)]
    assert np.isnan(middle) == (finite.size == 0)
    if finite.size:
        assert finite.min() <= middle <= finite.max() or middle == pytest.approx(finite.min())
        assert sigma >= 0.0 and np.isfinite(sigma)
    z = winsorised_z(values)
    assert z.shape == values.shape
    assert (np.isnan(z) | (np.abs(z) <= 3.0)).all()


def test_non_finite_spans_say_what_is_in_them() -> None:
    values = np.array([np.nan, 1.0, np.inf, -np.inf, np.nan, 2.0, np.inf])
    assert non_finite_spans(values) == (
        Span(0, 1, 1, 0, 0),
        Span(2, 5, 1, 1, 1),
        Span(6, 7, 0, 1, 0),
    )
    assert first_non_finite(values) == 0
    assert first_non_finite(values[5:]) == 1
    assert first_non_finite(np.ones(3)) is None
    assert non_finite_spans(np.ones(3)) == ()


@given(any_series)
def test_spans_cover_exactly_what_is_not_finite(values: Floats) -> None:
    covered = np.zeros(values.shape, dtype=bool)
    for span in non_finite_spans(values):
        assert span.start < span.stop
        assert not covered[span.start : span.stop].any()
        covered[span.start : span.stop] = True
        assert span.nan + span.pos_inf + span.neg_inf == span.stop - span.start
    assert (covered == ~np.isfinite(values)).all()


def test_a_line_is_found_under_outliers() -> None:
    steps = np.arange(0.0, 2000.0, 10.0)
    values = 3.0 - 0.25 * steps
    values[::5] = 1e6
    values[7] = np.nan
    trend = theil_sen(values, steps)
    assert trend.slope == pytest.approx(-0.25)
    assert trend.intercept == pytest.approx(3.0)
    assert np.isnan(theil_sen(np.array([1.0])).slope)


def test_a_short_curve_is_not_thinned() -> None:
    curve = downsample(np.array([3, 5, 9]), np.array([1.0, np.nan, 2.0]), 10)
    assert curve.steps.tolist() == [3, 9]
    assert curve.values.tolist() == curve.low.tolist() == curve.high.tolist() == [1.0, 2.0]
    assert curve.non_finite.tolist() == [5]


def test_a_thinned_curve_keeps_every_spike_in_its_band() -> None:
    values = np.ones(10_000)
    values[[17, 5000]] = [40.0, -7.0]
    curve = downsample(np.arange(10_000), values, 100)
    assert curve.steps.shape == (100,)
    assert curve.steps[0] == 0
    assert (curve.values == 1.0).all()
    assert curve.high[0] == 40.0 and curve.low[50] == -7.0
    assert np.count_nonzero(curve.high != 1.0) == np.count_nonzero(curve.low != 1.0) == 1


@given(any_series, st.integers(1, 30))
def test_thinning_drops_no_non_finite_step(values: Floats, limit: int) -> None:
    steps = 7 + 3 * np.arange(values.shape[0])
    curve = downsample(steps, values, limit)
    assert curve.non_finite.tolist() == steps[~np.isfinite(values)].tolist()
    finite = values[np.isfinite(values)]
    assert curve.steps.shape[0] == min(limit, finite.shape[0])
    assert (np.diff(curve.steps) > 0).all()
    if finite.size:
        assert curve.low.min() == finite.min() and curve.high.max() == finite.max()
        assert (curve.low <= curve.high).all()


def test_thinning_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        downsample(np.arange(3), np.ones(3), 0)
    with pytest.raises(ValueError, match="2 steps for 3 values"):
        downsample(np.arange(2), np.ones(3), 5)


def test_the_room_needs_numpy_alone() -> None:
    heavy = "{'scipy', 'pandas', 'tensorflow', 'keras', 'h5py'}"
    code = f"import sys, forensics.signals; print(sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
