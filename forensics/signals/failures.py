"""The ways in which a finite loss curve fails, each measured against the run before it failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from forensics.signals.arrays import Floats, level_step
from forensics.signals.collapse import find_collapse
from forensics.signals.dispersion import log_dispersion
from forensics.signals.locate import Break, locate_break
from forensics.signals.plateau import find_plateau
from forensics.signals.rise import Rise, strongest_rise
from forensics.signals.scale import comparable

_THRESHOLD = 6.0
"""Sigmas of a level beyond the precedents. Levels are compared in many places and widths,
hence more than the usual three to four."""

_FEW = 100.0
"""Values at which the threshold is twice that: sigmas estimated from few values are too small too
often, and a short log proves little."""

_LEAST_RISE = 0.05
"""Nats: a loss of 5 % more is the least that counts, however quiet the curve."""

_LEAST_RISE_SHORT = 20.0
"""Nats times values, on top of that: 0.5 at 40 values, too few to tell how a curve wanders."""

_LEAST_SPREAD = 0.4
"""Nats: a spread of 1.5 times the healthy one, in relative and in absolute terms."""

_SPREAD_WIDTH = 32
"""Values: the shortest stretch whose spread is worth a judgement, four independent means of it."""

_GIVEN_BACK = 1e-3
"""Share of the loss early in the run. A rise below it is noise of a run that has fitted its data:
there the logarithm sees a thousandfold rise where nothing has happened."""

_BLOW_UP = float(np.log(10.0))
_DIVERGENCE = float(np.log(2.0))
_GROSS = float(np.log(100.0))
_SUDDEN = 1.0 / 3.0  # share of the growth of a spread that happens within a tenth of the run
_SLOW = 0.05  # share of the run that a slow blow-up takes at the least
_BEFORE_END = 5  # values before a non-finite one in which a single gross value is its herald
_EARLIER = 5  # times that an onset may be moved to an earlier rise
_LEARNT_ON = float(np.log(2.0))
"""Nats: a run that ends at less than half of its level at the change has gone on learning."""

_PERIODS = 4000  # values in which a period is looked for
_PERIODIC = 0.2  # share of the power in one frequency; white noise has about log(n) / n


class Failure(NamedTuple):
    """What failed, where, by how many nats, and by how many sigmas beyond the precedents."""

    kind: str
    where: Break
    effect: float
    score: float


def worst_failure(loss: Floats, gradient: Floats | None, ended: bool) -> Failure | None:
    """Return the most telling failure of a finite loss of shape (n,), None for a healthy one.

    ``gradient`` has the same shape and may hold NaN; ``ended`` says that a non-finite loss follows.
    """
    if loss.shape[0] < 3:
        return None
    curve = comparable(loss)
    found = next(_failures(loss, curve, gradient), None)
    if found is None or not found.kind.endswith("blow_up"):
        return _gross_rise(curve, ended) or found
    return found


def _failures(loss: Floats, curve: Floats, gradient: Floats | None) -> Iterator[Failure]:
    """Failures, the most telling kind first: a blow-up explains whatever else is seen."""
    threshold = _THRESHOLD * (1.0 + _FEW / curve.shape[0])
    rise = _loss_rise(loss, curve, threshold)
    if rise is not None and rise.effect >= _BLOW_UP:
        yield _from_rise(curve, rise, threshold)
    if gradient is not None:
        collapse = find_collapse(curve, gradient, threshold)
        if collapse is not None:
            fallen, where = collapse
            yield Failure("gradient_collapse", where, fallen.effect, fallen.score)
    spread = _spread_rise(loss, curve, threshold)
    if spread is not None and (rise is None or spread.score > rise.score):
        yield spread
    if rise is not None:
        yield _from_rise(curve, rise, threshold)
    plateau = find_plateau(curve)
    if plateau is not None:
        where = Break(plateau.index, plateau.index, plateau.index)
        yield Failure("plateau", where, plateau.effect, plateau.score)


def _loss_rise(loss: Floats, curve: Floats, threshold: float) -> Rise | None:
    rise = strongest_rise(curve)
    if rise is None or rise.score < threshold or rise.effect < _least_rise(curve):
        return None
    n = loss.shape[0]
    early = np.abs(loss[n // 20 : max(n // 5, n // 20 + 1)])
    last = np.abs(loss[-rise.width :])
    return rise if np.median(last * 0.5) >= _GIVEN_BACK * np.median(early * 0.5) else None


def _least_rise(curve: Floats) -> float:
    return _LEAST_RISE + _LEAST_RISE_SHORT / len(curve)


def _from_rise(curve: Floats, rise: Rise, threshold: float) -> Failure:
    where, reached = _rise_break(curve, rise)
    for _ in range(_EARLIER):
        # The sharpest break of a blow-up is often not its first: had it been rising before?
        earlier = strongest_rise(curve[: where.first])
        if earlier is None or earlier.score < threshold or earlier.effect < _least_rise(curve):
            break
        before, _ = _rise_break(curve[: where.first], earlier)
        if before.first >= where.first:
            break
        where = before
    if rise.effect < _BLOW_UP:
        kind = "divergence" if rise.effect >= _DIVERGENCE else "level_rise"
    else:
        slow = reached - where.first > max(10.0, _SLOW * curve.shape[0])
        kind = "slow_blow_up" if slow else "blow_up"
    return Failure(kind, where, rise.effect, rise.score)


def _rise_break(curve: Floats, rise: Rise) -> tuple[Break, int]:
    """Break at which a rise began, and index at which most of it was reached."""
    after = curve[rise.first :]
    reached = rise.first + int(np.argmax(after >= rise.low + 0.7 * rise.effect))
    end = max(reached, rise.last) + rise.width
    return locate_break(curve, rise.lowest - rise.width, end), reached


def _spread_rise(loss: Floats, curve: Floats, threshold: float) -> Failure | None:
    """Growth of the spread that shows in the log of the loss and in the loss itself.

    Relative noise grows by itself as a loss falls, absolute noise as it rises: only both together
    are a change of the run. Noise that grows little by little belongs to learning: a network that
    treats all samples alike, as one does at first, has little of it.
    """
    relative = log_dispersion(curve)
    rise = strongest_rise(relative, _SPREAD_WIDTH)
    if rise is None or rise.score < threshold or rise.effect < _LEAST_SPREAD:
        return None
    absolute = strongest_rise(log_dispersion(loss), _SPREAD_WIDTH)
    if absolute is None or absolute.score < threshold or absolute.effect < _LEAST_SPREAD:
        return None
    single = log_dispersion(curve, neighbours=1)
    where = locate_break(single, rise.lowest - rise.width, rise.last + rise.width)
    span = max(_SPREAD_WIDTH, curve.shape[0] // 10)
    if level_step(relative, where.first, span) < _SUDDEN * rise.effect:
        return None
    if _learnt_on(curve, where.first):
        return None
    kind = "oscillation" if _periodic(curve[where.first :]) else "variance_rise"
    return Failure(kind, where, rise.effect, rise.score)


def _learnt_on(curve: Floats, first: int) -> bool:
    """Whether the run ends well below its level at a change, which then did it no lasting harm.

    A loss that is flat at first, with hardly any noise, and falls later looks like one whose
    spread grew: the fall itself is read as spread.
    """
    after = curve[first:]
    around = curve[max(first - _SPREAD_WIDTH, 0) : first + 1]
    end = after[-max(_SPREAD_WIDTH // 2, after.shape[0] // 4) :]
    return bool(np.median(around) - np.median(end) > _LEARNT_ON)


def _periodic(values: Floats) -> bool:
    """Whether one frequency carries much of the power."""
    part = values[-_PERIODS:]
    if part.shape[0] < 16:
        return False
    power = np.abs(np.fft.rfft(part - part.mean())) ** 2
    return bool(power.max() > _PERIODIC * power.sum())


def _gross_rise(curve: Floats, ended: bool) -> Failure | None:
    """Find a hundredfold rise at the very end, too short for a level: its values alone tell.

    It takes two values at the end of a log, because a single one may be a spike; shortly before a
    non-finite value, one.
    """
    n = curve.shape[0]
    gross = curve > curve[: max(2, n // 2)].max() + _GROSS
    if ended:
        late = np.flatnonzero(gross[-_BEFORE_END:])
        first = max(n - _BEFORE_END, 0) + int(late[0]) if late.size else n
    else:
        calm = np.flatnonzero(~gross)
        first = int(calm[-1]) + 1
        first = first if first <= n - 2 else n
    if first == n:
        return None
    while first > 1 and curve[first - 1] > curve[first - 2] and gross[first]:
        first -= 1
    effect = float(curve[first:].max() - np.median(curve[:first]))
    return Failure("blow_up", Break(first, first, first), effect, effect)
