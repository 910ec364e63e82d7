"""Terminal rise: a quantity has left its healthy level for good.

A rise is measured from the lowest level that the run once held to the level at its end. It counts
against two yardsticks, both taken from the run itself before the rise: the noise of levels, and the
largest earlier rise that was followed by a recovery ("this has happened before and meant nothing").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forensics.signals.arrays import Floats, block_medians, sliding_medians
from forensics.signals.scale import median_scale

_BLOCKS = 8  # a level is the median of about so many block medians
_MOST = 3000  # blocks looked back on, so that short levels in long runs cost no more than long ones
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
    """Return the rise of the highest score among all widths, None where nothing rises."""
    found = [terminal_rise(values, width) for width in widths(values.shape[0], smallest)]
    return max((r for r in found if r is not None), key=lambda r: r.score, default=None)
