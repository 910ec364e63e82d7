"""When training went wrong: the direction-aware layer above change points.

A change point alone is no alarm, healthy curves are full of them. Four things are: the loss is not
finite; it has risen for good; its spread has grown for good; learning or the gradient has stopped at
once. Each is measured against the run itself before the change, so that no limit has the unit of the
loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from forensics.signals.arrays import Floats, as_floats, block_medians, comparable
from forensics.signals.collapse import find_collapse
from forensics.signals.dispersion import log_dispersion
from forensics.signals.events import Event, curve_events, non_finite_events
from forensics.signals.locate import Break, locate_break
from forensics.signals.nonfinite import first_non_finite
from forensics.signals.plateau import find_plateau
from forensics.signals.rise import Rise, strongest_rise

_THRESHOLD = 6.0
_FEW = 100.0
_LEAST_RISE = 0.05
_LEAST_SPREAD = 0.4
_BLOW_UP = float(np.log(10.0))
_GROSS = float(np.log(100.0))
_SUDDEN = 0.05
_POINTS = 4000
_EARLIER = 5
_ENDING_IN_NON_FINITE = frozenset({"blow_up", "slow_blow_up", "divergence"})


@dataclass(frozen=True, slots=True)
class Onset:
    """The answer of `failure_onset`; all positions are indices into the loss given.

    Attributes
    ----------
    failed : bool
    onset : int or None
        First index of the failure; None where there is none.
    interval : (int, int) or None
        Inclusive indices between which it began.
    kind : str
        ``non_finite``, ``blow_up``, ``slow_blow_up``, ``divergence``, ``level_rise``,
        ``variance_rise``, ``oscillation``, ``gradient_collapse``, ``plateau``, or ``none``.
    p_value : float or None
        None: the score is not calibrated to a probability.
    effect : float
        Size of the change in natural log units (0.69 is a doubling); Inf for ``non_finite``.
    score : float
        Change beyond the run's own precedents in sigmas of its levels (for ``plateau`` the log
        likelihood ratio, for ``non_finite`` Inf). It ranks, it is no probability.
    events : tuple of Event
        What the run recovered from, in order.
    """

    failed: bool
    onset: int | None
    interval: tuple[int, int] | None
    kind: str
    p_value: float | None
    effect: float
    events: tuple[Event, ...]
    score: float = 0.0


def failure_onset(loss: ArrayLike, gradient_norm: ArrayLike | None = None) -> Onset:
    """Find out whether a training run went wrong, and at which value.

    Parameters
    ----------
    loss : array_like of float, shape (n,)
        Any unit; NaN and Inf are evidence, not gaps.
    gradient_norm : array_like of float, shape (n,), optional
        At the same steps. Ignored if its length differs. NaN or Inf in it alone are no failure: a
        loss scale that was too high skips such steps.

    Returns
    -------
    Onset
        Never raises for a float array, whatever is in it.
    """
    values = as_floats(loss)
    gradient = None if gradient_norm is None else as_floats(gradient_norm)
    if gradient is not None and gradient.shape != values.shape:
        gradient = None
    bad = first_non_finite(values)
    head = values[:bad]
    found = _worst(head, None if gradient is None else gradient[:bad], ended=bad is not None)
    events = _events(values, gradient, head, found.onset)
    if bad is None or found.kind in _ENDING_IN_NON_FINITE:
        return replace(found, events=events)
    return Onset(True, bad, (bad, bad), "non_finite", None, np.inf, events, np.inf)


_HEALTHY = Onset(False, None, None, "none", None, 0.0, ())


def _worst(loss: Floats, gradient: Floats | None, ended: bool) -> Onset:
    """Judge a finite run; ``ended`` says that a non-finite value came next."""
    if loss.shape[0] < 3:
        return _HEALTHY
    curve = comparable(loss)
    found = [*_candidates(loss, curve, gradient)]
    short = _gross_rise(curve, ended)
    if short is not None and not any(one.kind.endswith("blow_up") for one in found):
        return short
    return found[0] if found else _HEALTHY


def _candidates(loss: Floats, curve: Floats, gradient: Floats | None) -> Iterator[Onset]:
    """Failures, the most telling kind first."""
    threshold = _THRESHOLD * (1.0 + _FEW / curve.shape[0])
    rise = strongest_rise(curve)
    if rise is not None and (rise.score < threshold or rise.effect < _LEAST_RISE):
        rise = None
    if rise is not None and rise.effect >= _BLOW_UP:
        yield _from_rise(curve, rise, threshold)
    if gradient is not None:
        collapse = find_collapse(curve, gradient, threshold)
        if collapse is not None:
            yield _onset("gradient_collapse", collapse[1], collapse[0].effect, collapse[0].score)
    spread = _spread_rise(loss, curve, threshold)
    if spread is not None and (rise is None or spread[0].score > rise.score):
        yield _onset(_spread_kind(curve, spread[1].index), spread[1], spread[0].effect, spread[0].score)
    if rise is not None:
        yield _from_rise(curve, rise, threshold)
    plateau = find_plateau(curve)
    if plateau is not None:
        where = Break(plateau.index, plateau.index, plateau.index)
        yield _onset("plateau", where, plateau.effect, plateau.score)


def _onset(kind: str, where: Break, effect: float, score: float) -> Onset:
    return Onset(True, where.index, (where.low, where.high), kind, None, effect, (), score)


def _from_rise(curve: Floats, rise: Rise, threshold: float) -> Onset:
    where, reached = _rise_break(curve, rise)
    for _ in range(_EARLIER):
        # The sharpest break of a blow-up is often not its first: had it been rising before?
        earlier = strongest_rise(curve[: where.index])
        if earlier is None or earlier.score < threshold or earlier.effect < _LEAST_RISE:
            break
        before, _ = _rise_break(curve[: where.index], earlier)
        if before.index >= where.index:
            break
        where = before
    if rise.effect < _BLOW_UP:
        kind = "divergence" if rise.effect >= np.log(2.0) else "level_rise"
    else:
        slow = reached - where.index > max(10.0, _SUDDEN * curve.shape[0])
        kind = "slow_blow_up" if slow else "blow_up"
    return _onset(kind, where, rise.effect, rise.score)


def _onset(kind: str, where: Break, effect: float, score: float) -> Onset:
    return Onset(True, where.index, (where.low, where.high), kind, None, effect, (), score)


def _rise_break(curve: Floats, rise: Rise) -> tuple[Break, int]:
    """Break at which a rise began, and index at which most of it was reached."""
    after = curve[rise.first :]
    reached = rise.first + int(np.argmax(after >= rise.low + 0.7 * rise.effect))
    end = max(reached, rise.last) + rise.width
    return locate_break(curve, rise.lowest - rise.width, end), reached


def _spread_rise(loss: Floats, curve: Floats, threshold: float) -> tuple[Rise, Break] | None:
    """Growth of the spread that shows in the log of the loss and in the loss itself.

    Relative noise grows by itself as a loss falls, absolute noise as it rises: only both together
    are a change of the run.
    """
    relative = log_dispersion(curve)
    rises = [strongest_rise(d, 16) for d in (relative, log_dispersion(loss))]
    found = [r for r in rises if r is not None and r.score >= threshold and r.effect >= _LEAST_SPREAD]
    if len(found) < 2:
        return None
    rise = found[0]
    return rise, locate_break(relative, rise.lowest - rise.width, rise.last + rise.width)


def _spread_kind(curve: Floats, index: int) -> str:
    """Oscillation if neighbouring turns repeat, else variance rise."""
    after = curve[index:] - np.median(curve[index:])
    after = after[-_POINTS:]
    if after.shape[0] < 16 or not after.any():
        return "variance_rise"
    power = np.abs(np.fft.rfft(after - after.mean())) ** 2
    return "oscillation" if power.max() > 0.2 * power.sum() else "variance_rise"


def _gross_rise(curve: Floats, ended: bool) -> Onset | None:
    """Find a hundredfold rise at the very end, too short for a level: the last values alone tell.

    Before a non-finite value one such value is enough, at the end of a log it takes two: a single
    one may be a spike.
    """
    n = curve.shape[0]
    highest = np.maximum.accumulate(curve)
    above = np.flatnonzero(curve <= highest[0] if n < 3 else curve <= _early_high(curve) + _GROSS)
    first = int(above[-1]) + 1 if above.size else 0
    if first >= n - (0 if ended else 1) or first < 2:
        return None
    while first > 1 and curve[first - 1] > curve[first - 2]:
        first -= 1
    effect = float(curve[-1] - np.median(curve[:first]))
    return Onset(True, first, (first, first), "blow_up", None, effect, (), effect)


def _early_high(curve: Floats) -> float:
    return float(curve[: max(2, curve.shape[0] // 2)].max())


def _events(
    loss: Floats, gradient: Floats | None, head: Floats, onset: int | None
) -> tuple[Event, ...]:
    found = [*non_finite_events(loss, "non_finite")]
    if gradient is not None:
        found += non_finite_events(gradient, "gradient_non_finite")
    if head.size:
        last = head.shape[0] if onset is None else onset
        found += [event for event in curve_events(comparable(head)) if event.index < last]
    return tuple(sorted(found, key=lambda event: (event.index, event.kind)))
