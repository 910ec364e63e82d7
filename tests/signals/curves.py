"""Loss curves with planted truth; each takes its own random generator."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def noise(n: int, rng: np.random.Generator, phi: float = 0.0) -> Floats:
    """AR(1) noise of unit variance, shape (n,)."""
    steps = rng.standard_normal(n + 200)
    values = np.empty(n + 200)
    last = 0.0
    for i, step in enumerate(steps):
        last = phi * last + np.sqrt(1.0 - phi * phi) * step
        values[i] = last
    return values[200:]


def learning(n: int, rng: np.random.Generator, sigma: float = 0.05, phi: float = 0.0) -> Floats:
    """A healthy power-law decay with multiplicative noise."""
    time = np.arange(n) / n
    return np.asarray(2.0 * np.exp(-0.6 * np.log1p(30.0 * time) + sigma * noise(n, rng, phi)))


def saturating(n: int, rng: np.random.Generator, sigma: float = 0.05) -> Floats:
    """Exponential decay to a floor."""
    time = np.arange(n) / n
    return np.asarray((0.2 + 2.0 * np.exp(-12.0 * time)) * np.exp(sigma * noise(n, rng)))


def dropped_rate(n: int, rng: np.random.Generator, sigma: float = 0.05) -> Floats:
    """Two sudden improvements, as after drops of the learning rate."""
    time = np.arange(n) / n
    factor = np.where(time > 0.5, 0.5, 1.0) * np.where(time > 0.75, 0.7, 1.0)
    return np.asarray(learning(n, rng, sigma) * factor)


def cyclic(n: int, rng: np.random.Generator, cycles: int = 6, sigma: float = 0.03) -> Floats:
    """Rises and falls with a cyclic learning rate; ends high."""
    phase = 2.0 * np.pi * cycles * np.arange(n) / n
    return np.asarray(learning(n, rng, sigma) * np.exp(-0.25 * np.cos(phase)))


def restarted(n: int, rng: np.random.Generator, at: int, height: float = 0.8) -> Floats:
    """A jump up that heals within a tenth of the run."""
    since = np.arange(n) - at
    bump = np.where(since >= 0, height * np.exp(-since / (0.05 * n)), 0.0)
    return np.asarray(learning(n, rng) * np.exp(bump))


def spiked(n: int, rng: np.random.Generator, at: int, length: int = 2) -> Floats:
    values = learning(n, rng)
    values[at : at + length] *= 30.0
    return values


def stepped_up(n: int, rng: np.random.Generator, at: int, height: float) -> Floats:
    """Sustained rise by ``height`` nats."""
    values = learning(n, rng)
    values[at:] = values[at - 20 : at].mean() * np.exp(height + 0.05 * noise(n - at, rng))
    return values


def slowly_rising(n: int, rng: np.random.Generator, at: int, height: float) -> Floats:
    """Exponential growth from ``at`` on, by ``height`` nats at the end."""
    values = learning(n, rng)
    level = values[at - 20 : at].mean()
    growth = height * np.arange(n - at) / (n - at)
    values[at:] = level * np.exp(growth + 0.05 * noise(n - at, rng))
    return values


def noisier(n: int, rng: np.random.Generator, at: int, times: float) -> Floats:
    """The same level, ``times`` the spread."""
    spread = np.where(np.arange(n) >= at, times, 1.0)
    return np.asarray(0.5 * np.exp(-0.2 * np.arange(n) / n) * (1 + 0.02 * spread * noise(n, rng)))


def oscillating(n: int, rng: np.random.Generator, at: int, period: int = 7) -> Floats:
    values = learning(n, rng, 0.03)
    wave = 0.5 * np.sin(2.0 * np.pi * np.arange(n - at) / period)
    values[at:] = values[at - 20 : at].mean() * np.exp(wave + 0.03 * noise(n - at, rng))
    return values


def stopped(n: int, rng: np.random.Generator, at: int) -> Floats:
    """Falls at one rate in the log, then not at all."""
    falling = -2.0 * np.minimum(np.arange(n), at) / at
    return np.asarray(3.0 * np.exp(falling + 0.05 * noise(n, rng)))
