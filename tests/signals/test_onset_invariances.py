"""What must not change the answer, and that nothing makes it raise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forensics.signals import failure_onset
from tests.signals import curves

FAILING = (
    curves.stepped_up(600, np.random.default_rng(1), 400, 1.0),
    curves.stepped_up(600, np.random.default_rng(2), 400, 15.0),
    curves.slowly_rising(600, np.random.default_rng(3), 400, 6.0),
    curves.oscillating(600, np.random.default_rng(4), 400),
    curves.stopped(600, np.random.default_rng(5), 300),
)


@pytest.mark.parametrize("loss", FAILING)
@pytest.mark.parametrize("factor", [1e-6, 0.1, 10.0, 1e9])
def test_the_unit_of_the_loss_does_not_matter(loss: curves.Floats, factor: float) -> None:
    plain, scaled = failure_onset(loss), failure_onset(loss * factor)
    assert plain.failed
    assert (scaled.kind, scaled.onset) == (plain.kind, plain.onset)
    assert scaled.effect == pytest.approx(plain.effect)


@pytest.mark.parametrize("loss", FAILING[:4])
@pytest.mark.parametrize("length", [50, 200])
def test_a_healthy_prefix_shifts_the_onset(loss: curves.Floats, length: int) -> None:
    rng = np.random.default_rng(length)
    steps = np.arange(length, 0, -1) / 600
    prefix = loss[:5].mean() * np.exp(1.2 * steps + 0.05 * curves.noise(length, rng))
    plain, shifted = failure_onset(loss), failure_onset(np.concatenate([prefix, loss]))
    assert plain.onset is not None and shifted.onset is not None
    assert shifted.kind == plain.kind
    assert abs(shifted.onset - plain.onset - length) <= 12


@pytest.mark.parametrize("loss", FAILING[:3])
def test_every_second_value_is_enough(loss: curves.Floats) -> None:
    plain, thinned = failure_onset(loss), failure_onset(loss[::2])
    assert plain.onset is not None and thinned.onset is not None
    assert abs(2 * thinned.onset - plain.onset) <= 12


@pytest.mark.parametrize("phi", [0.0, 0.5])
def test_noise_in_any_order_gives_no_alarm(phi: float) -> None:
    rng = np.random.default_rng(11)
    for n in (20, 60, 200, 500):
        values = np.exp(0.3 * curves.noise(n, rng, phi))
        for _ in range(20):
            assert not failure_onset(rng.permutation(values)).failed


@pytest.mark.slow
@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_the_alarm_rate_on_null_series_stays_small(phi: float) -> None:
    rng = np.random.default_rng(12)
    lengths = (25, 60, 150, 400)
    alarms = sum(
        failure_onset(np.exp(0.2 * curves.noise(n, rng, phi))).failed
        for n in lengths
        for _ in range(150)
    )
    assert alarms <= (0.02 if phi < 0.9 else 0.05) * 150 * len(lengths)


any_series = arrays(
    np.float64,
    st.integers(0, 90),
    elements=st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True, width=64),
)
tame_series = arrays(np.float64, st.integers(0, 200), elements=st.floats(-3.0, 3.0))


@settings(deadline=None, max_examples=200)
@given(loss=any_series | tame_series, gradient=any_series, same=st.booleans())
def test_no_array_makes_it_raise(loss: curves.Floats, gradient: curves.Floats, same: bool) -> None:
    gradient = np.resize(gradient, loss.shape) if same and gradient.size else gradient
    found = failure_onset(loss, gradient)
    n = loss.shape[0]
    assert found.failed == (found.onset is not None) == (found.kind != "none")
    assert found.failed or np.isfinite(loss).all()
    if found.onset is not None:
        assert found.interval is not None
        low, high = found.interval
        assert 0 <= low <= found.onset <= high < n
    assert all(0 <= event.index < n for event in found.events)
    assert not np.isnan(found.effect) and not np.isnan(found.score)


@settings(deadline=None, max_examples=60)
@given(
    exponents=arrays(np.float64, st.integers(20, 120), elements=st.floats(-300.0, 300.0)),
    signed=st.booleans(),
)
def test_huge_and_tiny_values_do_not_make_it_raise(exponents: curves.Floats, signed: bool) -> None:
    loss = 10.0**exponents
    if signed:
        loss[::3] *= -1.0
    found = failure_onset(loss, loss[::-1])
    assert found.onset is None or 0 <= found.onset < loss.shape[0]
