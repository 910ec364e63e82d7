"""When training went wrong: the direction-aware layer above change points.

A change point alone is no alarm, healthy curves are full of them. Four things are: the loss is not
finite; it has risen for good; its spread has grown for good; learning or the gradient has stopped
at once. Each is measured against the run itself before the change, so that no limit has the unit of
the loss.
"""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from forensics.signals.arrays import Floats, as_floats
from forensics.signals.events import Event, curve_events, non_finite_events
from forensics.signals.failures import worst_failure
from forensics.signals.nonfinite import first_non_finite
from forensics.signals.scale import comparable

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
    events : tuple of Event
        What the run went through besides, in order: all non-finite stretches, and before the onset
        what it recovered from.
    score : float
        Change beyond the run's own precedents in sigmas of its levels (for ``plateau`` the log
        likelihood ratio, for ``non_finite`` Inf). It ranks, it is no probability.
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

    A run that rose until it became non-finite is dated to the beginning of the rise; the first
    non-finite value is then among the events.

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
    failure = worst_failure(head, None if gradient is None else gradient[:bad], bad is not None)
    if bad is not None and (failure is None or failure.kind not in _ENDING_IN_NON_FINITE):
        events = _events(values, gradient, head, bad)
        infinite = float("inf")
        return Onset(True, bad, (bad, bad), "non_finite", None, infinite, events, infinite)
    if failure is None:
        return Onset(False, None, None, "none", None, 0.0, _events(values, gradient, head, None))
    first, low, high = failure.where
    events = _events(values, gradient, head, first)
    return Onset(
        True, first, (low, high), failure.kind, None, failure.effect, events, failure.score
    )


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
