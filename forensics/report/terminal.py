"""The report as plain text; every word of the data goes through the sanitiser."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from forensics.domain.report import Report
from forensics.report.contract import read_document
from forensics.report.numbers import number, step
from forensics.report.operations import explain
from forensics.report.sanitize import sanitize, sanitize_block
from forensics.report.verdict import (
    blame_words,
    missing,
    named_where,
    origin_title,
    replay_text,
    rows_text,
    scan_text,
    source_place,
    view_verdict,
)
from forensics.report.words import SEVERITY, TRIAL, TRIAL_SIGN, plain, sentence

Section = Mapping[str, Any]

_INDENT = 15
_CODE_INDENT = 6
_RED, _YELLOW, _GREEN, _BOLD, _DIM, _OFF = "31", "33", "32", "1", "2", "\x1b[0m"
_STATUS_COLOR = {"failed": _RED, "suspect": _YELLOW, "healthy": _GREEN, "unreadable": _YELLOW}
_SEVERITY_COLOR = {"error": _RED, "warning": _YELLOW, "info": _DIM}
_TRIAL_COLOR = {"fixed": _GREEN, "delayed": _YELLOW, "still_fails": _RED}
_CAUSES, _FINDINGS, _NOT_CHECKED, _WARNINGS = 4, 12, 6, 6


def render_terminal(report: Report, *, color: bool = False, width: int = 80) -> str:
    """Return the report wrapped at ``width`` columns (not its code), coloured only when asked.

    Raises
    ------
    ReportUnreadable
        When the document does not follow the contract.
    """
    document = read_document(report)
    paper = _Paper(color, max(width, 40))
    lines: list[str] = []
    for part in (_verdict, _origin, _fix, _findings, _causes, _trials, _not_checked, _warnings):
        made = [*part(document, paper)]
        lines += ["", *made] if lines and made else made
    return "\n".join(line.rstrip() for line in lines) + "\n"


class _Paper:
    """How lines are laid out: width and colour."""

    def __init__(self, color: bool, width: int) -> None:
        self.color, self.width = color, width

    def paint(self, text: str, *codes: str) -> str:
        """Colour a text that is sanitised already."""
        return f"\x1b[{';'.join(codes)}m{text}{_OFF}" if self.color and codes else text

    def field(self, name: str, text: str, *codes: str) -> Iterator[str]:
        """Yield a name with its text, wrapped and indented."""
        room = self.width - _INDENT
        wrapped = textwrap.wrap(sanitize(text), room, break_on_hyphens=False) or ["–"]
        for index, line in enumerate(wrapped):
            label = name if index == 0 else ""
            pad = " " * (_INDENT - 2 - len(label))
            yield f"  {self.paint(label, _DIM) if label else ''}{pad}{self.paint(line, *codes)}"

    def heading(self, text: str) -> str:
        """Return a heading."""
        return self.paint(text, _BOLD)

    def code(self, text: str) -> Iterator[str]:
        """Yield lines of code, however long: they are there to be copied."""
        for line in sanitize_block(text).expandtabs(4).strip("\n").split("\n"):
            yield " " * _CODE_INDENT + line


def _verdict(document: Section, paper: _Paper) -> Iterator[str]:
    view = view_verdict(document)
    word = f"{view.sign} {sanitize(view.word).upper()}"
    hanging = " " * (len(word) + 2)
    wrapped = textwrap.wrap(
        sanitize(sentence(view.headline, stop="")),
        paper.width - len(hanging),
        break_on_hyphens=False,
    )
    for index, line in enumerate(wrapped or [""]):
        start = paper.paint(word, _BOLD, _STATUS_COLOR.get(view.status, _BOLD)) + "  "
        yield (start if index == 0 else hanging) + paper.paint(line, _BOLD)
    if view.cause:
        yield from paper.field("likely cause" if view.likely else "possibly", view.cause, _BOLD)
        if view.cause_meaning:
            yield from paper.field("", view.cause_meaning)
    if view.confidence:
        yield from paper.field("how sure", f"{view.confidence} ({view.grade})")
    if view.when:
        yield from paper.field("first bad", view.when)
    if view.resume:
        where = view.resume.path or "the beginning"
        yield from paper.field("resume from", f"{where}. {view.resume.detail}")


def _origin(document: Section, paper: _Paper) -> Iterator[str]:
    replay = document["replay"]
    origin = replay["origin"]
    if origin is None:
        yield paper.heading("Replay")
        yield from paper.field("result", replay_text(replay))
        if replay["scan"]:
            yield from paper.field("scan", scan_text(replay["scan"]))
        return
    yield paper.heading(f"First bad op ({named_where(replay)})")
    yield from paper.field("op", origin_title(origin), _BOLD)
    if explain(origin):
        yield from paper.field("", explain(origin))
    if origin["source"]:
        yield from paper.field("source line", source_place(origin) or "")
        yield from paper.code(origin["source"]["code"].strip())
    if rows_text(replay):
        yield from paper.field("batch rows", rows_text(replay))
    blame = replay["whose_bug"]
    if blame:
        yield from paper.field("whose bug", f"{blame_words(blame)}")
    if replay["reproducer"]:
        yield from paper.field("reproduce", f"python {replay['reproducer']}")


def _fix(document: Section, paper: _Paper) -> Iterator[str]:
    fix = view_verdict(document).fix
    if fix is None:
        return
    yield paper.heading("Fix, verified by replay" if fix.verified else "Fix, proposed (not tried)")
    yield from paper.field("what", fix.name, _BOLD, *([_GREEN] if fix.verified else []))
    yield from paper.field("why", fix.why)
    if fix.snippet.strip():
        yield from paper.code(fix.snippet)


def _findings(document: Section, paper: _Paper) -> Iterator[str]:
    found = document["findings"]
    if not found:
        return
    yield paper.heading(f"Findings ({len(found)})")
    for finding in found[:_FINDINGS]:
        severity = finding["severity"]
        onset = finding["onset_step"]
        noun = "epoch" if finding["step_axis"] == "epoch" else "step"
        at = f" (from {noun} {step(onset)})" if onset is not None else ""
        name = SEVERITY.get(severity, sanitize(severity))[:_INDENT]
        text = f"{finding['code']} {sentence(finding['summary'], stop='')}{at}"
        lines = [*paper.field(name, text)]
        color = _SEVERITY_COLOR.get(severity)
        yield lines[0].replace(name, paper.paint(name, color), 1) if color else lines[0]
        yield from lines[1:]
    yield from _more(paper, len(found) - _FINDINGS)


def _causes(document: Section, paper: _Paper) -> Iterator[str]:
    others = document["diagnoses"][1:]
    if not others:
        return
    yield paper.heading("Other causes considered")
    for diagnosis in others[:_CAUSES]:
        text = f"{plain(diagnosis['cause'])}: {diagnosis['summary']}"
        yield from paper.field(f"{diagnosis['confidence']:.2f}", text)
    yield from _more(paper, len(others) - _CAUSES)


def _trials(document: Section, paper: _Paper) -> Iterator[str]:
    trials = document["replay"]["trials"]
    if not trials:
        return
    yield paper.heading("Tried in the replay")
    for trial in trials:
        status = trial["status"]
        result = f"{TRIAL_SIGN.get(status, '?')} {TRIAL.get(status, plain(status))}"
        text = f"{trial['change']}: {result}"
        if trial["steps_tried"] is not None:
            text += f", {step(trial['steps_survived'])} of {step(trial['steps_tried'])} steps"
        if trial["loss_after"] is not None:
            text += f", loss {number(trial['loss_before'])} → {number(trial['loss_after'])}"
        color = _TRIAL_COLOR.get(status)
        yield from paper.field("", text, *([color] if color else []))


def _not_checked(document: Section, paper: _Paper) -> Iterator[str]:
    if not document["not_checked"]:
        return
    yield paper.heading(f"Could not check ({len(document['not_checked'])})")
    groups = missing(document)
    for group in groups[:_NOT_CHECKED]:
        yield from paper.field("", f"{', '.join(group.codes)}: {sentence(group.reason)}")
    yield from _more(paper, len(groups) - _NOT_CHECKED)


def _warnings(document: Section, paper: _Paper) -> Iterator[str]:
    warnings = document["warnings"]
    if not warnings:
        return
    yield paper.heading(f"Not read completely ({len(warnings)})")
    for warning in warnings[:_WARNINGS]:
        at = f" at byte {step(warning['offset'])}" if warning["offset"] is not None else ""
        yield from paper.field("", f"{warning['path']}{at}: {warning['detail']}")
    yield from _more(paper, len(warnings) - _WARNINGS)


def _more(paper: _Paper, amount: int) -> Iterator[str]:
    if amount > 0:
        yield from paper.field("", f"... and {step(amount)} more in the report")
