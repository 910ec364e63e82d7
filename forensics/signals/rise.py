"""Terminal rise: a quantity has left its healthy level for good.

A rise is measured from the lowest level that the run once held to the level at its end. It counts
against two yardsticks, both taken from the run itself before the rise: the noise of levels, and the
largest earlier rise that was followed by a recovery ("this has happened before and meant nothing").
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from forensics.signals.arrays import Floats, block_medians, sliding_medians
from forensics.signals.scale import median_scale

_BLOCKS = 8  # a level is the median of about so many block medians
_MOST = 3000  # blocks looked back on, so that short levels in long runs cost no more than long ones
_FINE = 20_000  # values that are measured one by one at every width
_MARGIN = 0.35  # share of the rise below which the run counts as still healthy
_PRECEDENT = 1.5  # a rise must be so many times as high as any that recovered


@dataclass(frozen=True, slots=True)
class Rise:
    """A rise that lasts to the end, in the unit of the values (natural log for a log series).

    ``width`` is the number of values that one level is the median of; ``lowest`` is the first value
    of the lowest level; ``first`` and ``last`` bound
    the values among which the rise began; ``score`` is the rise above the precedents in sigmas.
    """

    width: int
    lowest: int
    first: int
    last: int
    low: float
    effect: float
    precedent: float
    score: float


def widths(n: int, smallest: int = 5) -> tuple[int, ...]:
    """Lengths of terminal levels worth trying on ``n`` values, in steps of about 1.5."""
    found: list[int] = []
    width = float(smallest)
    while width <= n / 4:
        found.append(round(width))
        width *= 1.5
    return tuple(found)


def terminal_rise(values: Floats, width: int) -> Rise | None:
    """Return the rise from the lowest earlier level to the last one, None where there is none.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        Finite, on an additive scale.
    width : int
        Values per level; the run must hold four of them.
    """
    size = max(1, width // _BLOCKS)
    blocks = block_medians(values[-_MOST * size :], size)
    span = max(1, round(width / size))
    levels = sliding_medians(blocks, span)
    if levels.shape[0] < 2 * span + 1:
        return None
    lowest = int(np.argmin(levels[:-span]))
    low, effect = float(levels[lowest]), float(levels[-1] - levels[lowest])
    if not effect > 0.0:
        return None
    last = int(np.flatnonzero(levels <= low + _MARGIN * effect)[-1])
    before = levels[: last + 1]
    precedent = float(np.max(before - np.minimum.accumulate(before)))
    noise = _level_noise(blocks[: last + span], span)
    if not noise > 0.0:
        noise = max(1e-9 * abs(low), 1e-12)
    offset = values.shape[0] - blocks.shape[0] * size
    return Rise(
        width=width,
        lowest=offset + lowest * size,
        first=offset + last * size,
        last=min(values.shape[0] - 1, offset + (last + 2 * span) * size),
        low=low,
        effect=effect,
        precedent=precedent,
        score=(effect - _PRECEDENT * precedent) / noise,
    )


def _level_noise(blocks: Floats, span: int) -> float:
    """Sigma of a level of ``span`` blocks, free of trend; the largest of four estimates.

    From second differences of levels one, two and four apart, which see autocorrelation beyond a
    level, and from those of neighbouring blocks, which are many; sqrt(6) is the norm of
    (1, -2, 1), and the median of ``span`` values is sqrt(pi / 2 / span) as noisy as one.
    """
    fine = _second_difference_sigma(blocks, 1) * float(np.sqrt(np.pi / 2 / max(span, 2)))
    levels = sliding_medians(blocks, span) if blocks.shape[0] >= span else blocks
    coarse = [_second_difference_sigma(levels, span * many) for many in (1, 2, 4)]
    return max(fine, *coarse)


def _second_difference_sigma(values: Floats, lag: int) -> float:
    if values.shape[0] < 2 * lag + 3:
        return 0.0
    bend = values[2 * lag :] - 2 * values[lag:-lag] + values[: -2 * lag]
    tail = bend[-max(8, bend.shape[0] // 3) :]
    sigma = max(median_scale(bend)[1], median_scale(tail)[1])
    return sigma / float(np.sqrt(6.0))


def strongest_rise(values: Floats, smallest: int = 5) -> Rise | None:
    """Return the rise of the highest score among all widths, None where nothing rises.

    Long levels of a long series are measured on block medians made once for all of them.
    """
    n = values.shape[0]
    size = max(1, n // _FINE)
    coarse = block_medians(values, size)
    found = []
    for width in widths(n, smallest):
        if size > 1 and width >= 4 * _BLOCKS * size:
            rise = terminal_rise(coarse, width // size)
            found.append(rise and _widened(rise, size, n % size))
        else:
            found.append(terminal_rise(values, width))
    return max((r for r in found if r is not None), key=lambda r: r.score, default=None)


def _widened(rise: Rise, size: int, offset: int) -> Rise:
    """Rise found among block medians, in places of the values themselves."""
    return replace(
        rise,
        width=rise.width * size,
        lowest=offset + rise.lowest * size,
        first=offset + rise.first * size,
        last=offset + (rise.last + 1) * size - 1,
    )
