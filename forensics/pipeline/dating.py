"""When it went wrong, once logs, checkpoints and replay have spoken."""

from __future__ import annotations

from dataclasses import dataclass

from forensics.domain.quantity import StepAxis
from forensics.domain.replay import DEBUG_DUMP, ReplayResult, ReplayStatus
from forensics.pipeline.target import Target


@dataclass(frozen=True, slots=True)
class Date:
    """First bad step, the interval it lies in (inclusive), what they count, and what shows it."""

    step: int | None = None
    interval: tuple[int, int] | None = None
    axis: StepAxis | None = None
    tag: str | None = None


def reproduced(replay: ReplayResult | None) -> bool:
    """Whether the failure happened again."""
    return replay is not None and replay.status is ReplayStatus.REPRODUCED


def dumped(replay: ReplayResult | None) -> bool:
    """Whether a debug dump of the run shows a bad value that does harm."""
    return replay is not None and replay.source == DEBUG_DUMP and replay.origin is not None


def date_failure(replay: ReplayResult | None, target: Target) -> Date:
    """Return the replay's step where it reproduced the failure, else what the files say.

    A scan finds a batch, not its step, and a debug dump may begin in mid-run: the files say when
    it came.
    """
    stepped = replay is not None and reproduced(replay) and replay.scan is None
    if replay is not None and stepped and replay.step is not None:
        tag = target.tag or (replay.origin.op_name if replay.origin is not None else None)
        return Date(replay.step, (replay.step, replay.step), StepAxis.BATCH, tag)
    if target.symptom == "none":
        return Date()
    return Date(target.step, target.interval, target.axis, target.tag)


def in_words(date: Date) -> str:
    """Return ``at step 108``, ``by step 39 at the latest (between 0 and 39)``, or nothing.

    Where the first bad value was seen long after the last clean one, its step is only a bound.
    """
    epoch = date.axis is StepAxis.EPOCH
    unit, at = ("epoch", "in") if epoch else ("step", "at")
    low, high = date.interval or (date.step, date.step)
    if low is None or high is None:
        return ""
    if date.step is not None and high - low <= 1:
        return f"{at} {unit} {date.step}"
    if low == high:
        return f"{at} {unit} {low}"
    if date.step == high:
        return f"by {unit} {high} at the latest (between {low} and {high})"
    return f"between {unit}s {low} and {high}"
