from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from forensics.signals import Onset, failure_onset
from tests.signals import curves
from tests.signals.curves import Floats

SEEDS = range(6)
Healthy = Callable[[int, np.random.Generator], Floats]

HEALTHY: tuple[Healthy, ...] = (
    curves.learning,
    curves.saturating,
    curves.dropped_rate,
    curves.cyclic,
    lambda n, rng: curves.restarted(n, rng, int(0.6 * n)),
    lambda n, rng: curves.spiked(n, rng, int(0.7 * n)),
    lambda n, rng: curves.learning(n, rng, 0.3),
    lambda n, rng: curves.learning(n, rng, 0.1, phi=0.8),
    lambda n, rng: 1.0 + 0.2 * curves.noise(n, rng),
)


def near(found: Onset, onset: int, n: int) -> bool:
    """Within the tolerance of the field: ten steps or 2 % of the run."""
    return found.onset is not None and abs(found.onset - onset) <= max(10, 0.02 * n)


@pytest.mark.parametrize("n", [15, 24, 40, 60, 120, 400, 1500])
@pytest.mark.parametrize("make", HEALTHY)
def test_a_healthy_curve_gives_no_alarm(make: Healthy, n: int) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        loss = make(n, rng)
        gradient = loss**0.5 * np.exp(0.2 * curves.noise(n, rng))
        found = failure_onset(loss, gradient)
        assert not found.failed, (seed, found)
        assert found.onset is None and found.interval is None and found.kind == "none"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [300, 1000, 3000])
def test_a_lasting_step_up_is_dated(n: int, seed: int) -> None:
    at = int(0.7 * n)
    found = failure_onset(curves.stepped_up(n, np.random.default_rng(seed), at, 1.0))
    assert found.kind == "divergence"
    assert near(found, at, n)
    assert found.effect == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_small_lasting_rise_is_a_level_rise(seed: int) -> None:
    found = failure_onset(curves.stepped_up(1000, np.random.default_rng(seed), 600, 0.4))
    assert found.kind == "level_rise"
    assert near(found, 600, 1000)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_explosion_is_dated(seed: int) -> None:
    found = failure_onset(curves.stepped_up(800, np.random.default_rng(seed), 500, 20.0))
    assert found.kind == "blow_up"
    assert found.onset == 500
    assert found.interval is not None
    assert found.interval[0] <= 500 <= found.interval[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slow_blow_up_is_dated_to_its_beginning(seed: int) -> None:
    found = failure_onset(curves.slowly_rising(1000, np.random.default_rng(seed), 700, 8.0))
    assert found.kind == "slow_blow_up"
    assert near(found, 700, 1000)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_blow_up_that_ends_in_nan_is_dated_to_its_beginning(seed: int) -> None:
    loss = curves.slowly_rising(1000, np.random.default_rng(seed), 700, 8.0)
    loss[970:] = np.nan
    found = failure_onset(loss)
    assert found.kind == "slow_blow_up"
    assert near(found, 700, 1000)
    assert [(e.index, e.effect) for e in found.events if e.kind == "non_finite"] == [(970, 30.0)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_quiet_run_that_becomes_oscillating(seed: int) -> None:
    found = failure_onset(curves.oscillating(1000, np.random.default_rng(seed), 600))
    assert found.kind == "oscillation"
    assert near(found, 600, 1000)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rise_of_the_spread_alone(seed: int) -> None:
    found = failure_onset(curves.noisier(1500, np.random.default_rng(seed), 900, 5.0))
    assert found.kind == "variance_rise"
    assert near(found, 900, 1500)


@pytest.mark.parametrize("seed", SEEDS)
def test_learning_that_stops_at_once_is_a_plateau(seed: int) -> None:
    found = failure_onset(curves.stopped(1000, np.random.default_rng(seed), 500))
    assert found.kind == "plateau"
    assert near(found, 500, 1000)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_collapse_of_the_gradient_without_learning(seed: int) -> None:
    rng = np.random.default_rng(seed)
    loss = np.exp(0.05 * curves.noise(1000, rng))
    gradient = np.exp(0.1 * curves.noise(1000, rng))
    gradient[600:] *= 0.05
    found = failure_onset(loss, gradient)
    assert found.kind == "gradient_collapse"
    assert near(found, 600, 1000)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gradient_that_falls_with_the_loss_is_learning(seed: int) -> None:
    rng = np.random.default_rng(seed)
    loss = np.exp(0.05 * curves.noise(1000, rng))
    gradient = np.exp(0.1 * curves.noise(1000, rng))
    loss[600:] *= 0.4
    gradient[600:] *= 0.4
    assert not failure_onset(loss, gradient).failed


@pytest.mark.parametrize("n", [1, 2, 3, 8, 30, 400])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_non_finite_value_is_found_at_any_length(n: int, bad: float) -> None:
    for at in sorted({0, n // 2, n - 1}):
        loss = curves.learning(n, np.random.default_rng(at))
        loss[at] = bad
        found = failure_onset(loss)
        assert (found.failed, found.kind, found.onset) == (True, "non_finite", at)
        assert found.interval == (at, at)
        assert any(e.kind == "non_finite" and e.index == at for e in found.events)


def test_a_short_run_that_explodes_before_nan_is_dated_to_the_first_gross_value() -> None:
    found = failure_onset([2.3, 2.2, 2.1, 2.2, 2.0, 4e4, 3e19, np.nan])
    assert (found.kind, found.onset) == ("blow_up", 5)
    assert found.effect == pytest.approx(np.log(3e19 / 2.2), rel=0.01)


def test_a_short_run_that_ends_exploded() -> None:
    found = failure_onset([2.3, 2.2, 2.1, 2.2, 2.0, 4e4, 3e19])
    assert (found.failed, found.kind, found.onset) == (True, "blow_up", 5)


def test_one_high_value_at_the_end_of_a_short_run_may_be_a_spike() -> None:
    assert not failure_onset([2.3, 2.2, 2.1, 2.2, 2.0, 4e4]).failed


def test_a_non_finite_gradient_alone_is_an_event() -> None:
    rng = np.random.default_rng(3)
    loss = curves.learning(300, rng)
    gradient = np.ones(300)
    gradient[[0, 40, 41]] = [np.inf, np.nan, np.inf]
    found = failure_onset(loss, gradient)
    assert not found.failed
    skipped = [(e.index, e.effect) for e in found.events if e.kind == "gradient_non_finite"]
    assert skipped == [(0, 1.0), (40, 2.0)]


def test_what_a_run_recovers_from_is_an_event() -> None:
    rng = np.random.default_rng(5)
    spike = failure_onset(curves.spiked(600, rng, 400))
    assert ("spike", 400) in [(e.kind, e.index) for e in spike.events]
    restart = failure_onset(curves.restarted(600, rng, 400))
    rises = [e for e in restart.events if e.kind == "recovered_rise"]
    assert len(rises) == 1
    assert abs(rises[0].index - 400) <= 12
    drop = failure_onset(curves.dropped_rate(600, rng))
    assert any(e.kind == "level_drop" and abs(e.index - 300) <= 12 for e in drop.events)


def test_noise_of_a_run_that_has_fitted_its_data_is_no_failure() -> None:
    rng = np.random.default_rng(8)
    loss = np.exp(-15.0 * np.arange(800) / 800 + 0.1 * curves.noise(800, rng))
    loss[700:] *= 20.0
    assert loss[700:].max() < 1e-3
    assert not failure_onset(loss).failed


def test_gradients_of_another_length_are_ignored() -> None:
    loss = curves.learning(100, np.random.default_rng(0))
    assert failure_onset(loss, np.ones(99)) == failure_onset(loss)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("flat", [60, 80, 150])
def test_a_loss_that_falls_late_does_not_swing(flat: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fall = 2.3 * np.exp(-np.arange(200) / 30) + 0.02 * np.abs(rng.normal(size=200))
    found = failure_onset(np.concatenate([2.3 + 0.003 * rng.normal(size=flat), fall]))
    assert not found.failed
