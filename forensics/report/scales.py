"""Axes: from values to pixels, and the ticks people can read."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

# Beyond this a difference of two values could overflow, below its reciprocal a ratio; nothing is
# read off a chart there.
_CLIP = 1e300
# A positive curve over more decades than this is drawn with a log axis.
LOG_DECADES = 2.0
# A curve with both signs whose largest magnitude is this many times its median one gets an axis
# that is linear round zero and logarithmic beyond.
SYMLOG_RATIO = 1000.0
# Share of the largest value below which such an axis tells nothing apart from 0.
_SMALLEST_KNEE = 1e-60


@dataclass(frozen=True, slots=True)
class Tick:
    """A position in pixels and what is written there."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """A monotone map from [low, high] to [start, end] pixels.

    ``kind`` is linear, log, or symlog (asinh(value / knee): linear below ``knee``, log beyond).
    """

    kind: str
    low: float
    high: float
    start: float
    end: float
    knee: float = 1.0
    _bent_low: float = field(init=False, repr=False)
    _slope: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        low, high = self._bend(self.low), self._bend(self.high)
        slope = (self.end - self.start) / (high - low) if high > low else 0.0
        object.__setattr__(self, "_bent_low", low)
        object.__setattr__(self, "_slope", slope)

    def _bend(self, value: float) -> float:
        if self.kind == "log":
            return math.log10(max(value, 1e-320))
        return math.asinh(value / self.knee) if self.kind == "symlog" else value

    def __call__(self, value: float) -> float:
        """Return the pixel of a value, values outside the domain clamped to its ends."""
        inside = min(max(value, self.low), self.high)
        return self.start + (self._bend(inside) - self._bent_low) * self._slope


def value_scale(
    values: Sequence[float], *, positive: bool, start: float, end: float
) -> tuple[Scale, tuple[Tick, ...]]:
    """Choose the vertical axis of finite ``values``, which must not be empty.

    ``positive`` says that the quantity cannot be negative (a loss, a norm, a rate), so that a log
    axis may be used when the values span more than `LOG_DECADES` decades.
    """
    clipped = [min(max(v, -_CLIP), _CLIP) if abs(v) > 1 / _CLIP else 0.0 for v in values]
    low, high = min(clipped), max(clipped)
    if positive and low > 0 and math.log10(high) - math.log10(low) > LOG_DECADES:
        return _log(low, high, start, end)
    middle = statistics.median(abs(v) for v in clipped)
    largest = max(abs(low), abs(high))
    knee = middle or min((abs(v) for v in clipped if v), default=1.0)
    knee = max(knee, largest * _SMALLEST_KNEE)
    if largest > SYMLOG_RATIO * knee:
        return _symlog(low, high, knee, start, end)
    return _linear(low, high, start, end)


def step_scale(
    low: int, high: int, *, start: float, end: float, most: int = 6
) -> tuple[Scale, tuple[Tick, ...]]:
    """Return the horizontal axis over steps, both ends inclusive, with at most ``most`` ticks."""
    scale = Scale("linear", low, max(high, low + 1), start, end)
    ticks = _round_numbers(low, max(high, low + 1), most, smallest=1)
    return scale, tuple(Tick(scale(t), f"{int(t):,}") for t in ticks)


def _linear(low: float, high: float, start: float, end: float) -> tuple[Scale, tuple[Tick, ...]]:
    room = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    floor = 0.0 if low >= 0 and low - room < 0 else low - room
    scale = Scale("linear", floor, high + room, start, end)
    ticks = _round_numbers(scale.low, scale.high, 6)
    gap = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    return scale, tuple(Tick(scale(t), _label(t, gap, max(map(abs, ticks)))) for t in ticks)


def _log(low: float, high: float, start: float, end: float) -> tuple[Scale, tuple[Tick, ...]]:
    first, last = math.log10(low), math.log10(high)
    room = (last - first) * 0.04
    scale = Scale("log", 10 ** max(first - room, -307), 10 ** min(last + room, 307), start, end)
    stride = max(1, math.ceil((last - first) / 6))
    powers = range(math.ceil(first - room), math.floor(last + room) + 1)
    powers_shown = [p for p in powers if p % stride == 0 and -307 <= p <= 307]
    return scale, tuple(Tick(scale(10.0**p), _power(p)) for p in powers_shown)


def _symlog(
    low: float, high: float, knee: float, start: float, end: float
) -> tuple[Scale, tuple[Tick, ...]]:
    scale = Scale("symlog", low, high, start, end, knee)
    ticks = [Tick(scale(0.0), "0")] if low <= 0 <= high else []
    for sign, bound in ((1, high), (-1, -low)):
        if bound <= 0:
            continue
        last = math.floor(math.log10(bound))
        first = math.ceil(math.log10(knee))
        stride = max(1, math.ceil((last - first + 1) / 4))
        for power in range(last, first - 1, -stride):
            at = scale(sign * 10.0**power)
            if all(abs(at - other.at) >= 14 for other in ticks):
                ticks.append(Tick(at, ("−" if sign < 0 else "") + _power(power)))
    return scale, tuple(sorted(ticks, key=lambda tick: tick.at))


def _round_numbers(low: float, high: float, most: int, smallest: float = 0.0) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten within [low, high], at most ``most``."""
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    gap = next((m * unit for m in (1, 2, 5, 10) if m * unit >= rough * (1 - 1e-9)), 10 * unit)
    gap = max(gap, smallest)
    first, last = math.ceil(low / gap - 1e-9), math.floor(high / gap + 1e-9)
    return [i * gap for i in range(first, last + 1)]


def _label(value: float, gap: float, largest: float) -> str:
    if abs(value) < gap * 1e-6:
        return "0"
    if largest >= 1e5 or largest < 1e-3:
        digits = max(0, math.floor(math.log10(abs(value))) - math.floor(math.log10(gap)))
        mantissa, exponent = f"{value:.{min(digits, 3)}e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
    else:
        text = f"{value:.{max(0, -math.floor(math.log10(gap) + 1e-9))}f}"
    return text.replace("-", "−")


def _power(exponent: int) -> str:
    if -3 <= exponent <= 3:
        return f"{10.0**exponent:g}"
    return f"1e{exponent}".replace("-", "−")
