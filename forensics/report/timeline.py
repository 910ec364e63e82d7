"""What happened when: the events of the report in the order of their steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from forensics.report.numbers import count_of, interval, number, step
from forensics.report.words import CHANGE, plain, variable

Section = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Moment:
    """One event; ``kind`` is start, lead, change, saved, poisoned, failure or end."""

    step: int
    axis: str
    kind: str
    text: str

    @property
    def place(self) -> str:
        """The step with its noun."""
        return f"{'epoch' if self.axis == 'epoch' else 'step'} {step(self.step)}"


_ORDER = ("start", "saved", "lead", "change", "failure", "poisoned", "end")


def moments(document: Section) -> tuple[Moment, ...]:
    """Return the events on the axis of the verdict first, then those on the other axis."""
    main = document["verdict"]["step_axis"] or document["run"]["step_axis"]
    found = [*_ends(document), *_leads(document), *_changes(document)]
    found += [*_saved(document), *_failure(document)]
    found.sort(key=lambda m: (m.axis != main, m.step, _ORDER.index(m.kind)))
    return tuple(found)


def _ends(document: Section) -> Iterator[Moment]:
    run = document["run"]
    if run["first_step"] is not None:
        yield Moment(run["first_step"], run["step_axis"], "start", "first logged step")
    if run["last_step"] is not None:
        yield Moment(run["last_step"], run["step_axis"], "end", "last logged step")


def _leads(document: Section) -> Iterator[Moment]:
    axis = document["verdict"]["step_axis"] or "batch"
    for lead in document["lead_indicators"]:
        before = count_of(lead["steps_before_failure"], axis if axis == "epoch" else "step")
        text = f"{lead['tag']} leaves its usual band, {before} before the failure"
        yield Moment(lead["step"], axis, "lead", text)


def _changes(document: Section) -> Iterator[Moment]:
    for point in document["change_points"]:
        if _is_the_failure(point, document["verdict"]):
            continue
        effect = f" ×{number(point['effect'], 2)}" if point["effect"] is not None else ""
        what = CHANGE.get(point["kind"], plain(point["kind"]))
        low, high = point["interval"]
        between = f" (between {interval([low, high])})" if low != high else ""
        text = f"{point['tag']} {what}{effect}{between}"
        yield Moment(point["step"], point["step_axis"], "change", text)


def _is_the_failure(point: Section, verdict: Section) -> bool:
    """Whether the failure itself tells this change already."""
    same = point["step"] == verdict["first_bad_step"] and point["tag"] == verdict["first_bad_tag"]
    return bool(same and point["step_axis"] == verdict["step_axis"])


def _saved(document: Section) -> Iterator[Moment]:
    special = {
        document["last_checkpoint_before_onset"]: "last checkpoint before the failure",
        document["first_poisoned_checkpoint"]: "first checkpoint that holds NaN or Inf",
    }
    for saved in document["checkpoints"]:
        if saved["step"] is not None and saved["path"] in special:
            kind = "poisoned" if saved["status"] == "poisoned" else "saved"
            yield Moment(saved["step"], "batch", kind, f"{saved['path']}: {special[saved['path']]}")


def _failure(document: Section) -> Iterator[Moment]:
    verdict = document["verdict"]
    if verdict["first_bad_step"] is not None:
        tag = f": {variable(verdict['first_bad_tag'])}" if verdict["first_bad_tag"] else ""
        axis = verdict["step_axis"] or "batch"
        yield Moment(verdict["first_bad_step"], axis, "failure", f"first bad step{tag}")
