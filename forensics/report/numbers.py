"""Numbers as people read them; what is not known is a dash."""

from __future__ import annotations

import datetime as dt
import math

UNKNOWN = "–"


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with ``digits`` significant digits: 0.0123, 1,234, 3.1e+12, NaN, Inf."""
    if value is None:
        return UNKNOWN
    if isinstance(value, int) and abs(value) < 10**9:
        return f"{value:,}".replace("-", "−")
    value = float(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Inf" if value > 0 else "−Inf")
    if value == 0:
        return "0"
    size = abs(value)
    if 1e-4 <= size < 10 ** max(digits, 5):
        decimals = max(0, digits - 1 - math.floor(math.log10(size)))
        text = f"{value:,.{decimals}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−")


def step(value: int | None) -> str:
    """Return a step with thousands separated."""
    return UNKNOWN if value is None else f"{value:,}".replace("-", "−")


def percent(fraction: float | None) -> str:
    """Return a fraction as a percentage of at most three digits."""
    if fraction is None:
        return UNKNOWN
    if not math.isfinite(fraction):
        return number(fraction)
    hundredths = fraction * 100
    if 0 < hundredths < 0.1:
        return "< 0.1 %"
    return f"{hundredths:.1f}".rstrip("0").rstrip(".") + " %"


def confidence(value: float | None) -> str:
    """Return a confidence with two decimals, as the report's JSON holds it."""
    return UNKNOWN if value is None else f"{value:.2f}"


def size(count: int | None) -> str:
    """Return a number of bytes in B, kB, MB, ... (powers of 1000)."""
    if count is None:
        return UNKNOWN
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def shape(dimensions: list[int] | None) -> str:
    """Return a tensor's shape: 32 × 10, or scalar."""
    if dimensions is None:
        return UNKNOWN
    return " × ".join(str(d) for d in dimensions) if dimensions else "scalar"


def interval(bounds: list[int] | None) -> str:
    """Return an interval of steps, one number when both ends are the same."""
    if bounds is None:
        return UNKNOWN
    low, high = bounds
    return step(low) if low == high else f"{step(low)} – {step(high)}"


def span(first: int | None, last: int | None) -> str:
    """Return the first and the last step of something."""
    return UNKNOWN if first is None or last is None else interval([first, last])


def rows(indices: list[int], limit: int = 12) -> str:
    """Return row indices, runs of neighbours as ranges, at most ``limit`` ranges."""
    spans: list[list[int]] = []
    for index in sorted(set(indices)):
        if spans and index == spans[-1][1] + 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    shown = ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in spans[:limit])
    return shown + (", …" if len(spans) > limit else "")


def count_of(amount: int, one: str, many: str | None = None) -> str:
    """Return an amount with its noun: 1 row, 3 rows."""
    return f"{step(amount)} {one if amount == 1 else many or one + 's'}"


def moment(seconds: float | None) -> str:
    """Return seconds since the epoch as a UTC time, to the second."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    try:
        when = dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return UNKNOWN
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float | None) -> str:
    """Return a length of time: 42 s, 3 min 5 s, 2 h 10 min, 3 d 4 h."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return UNKNOWN
    if seconds < 60:
        return f"{number(seconds, 2)} s"
    whole = int(seconds)
    for big, big_unit, small, small_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= big:
            rest = whole % big // small
            return f"{whole // big} {big_unit}" + (f" {rest} {small_unit}" if rest else "")
    return UNKNOWN
