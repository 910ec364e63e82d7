"""The report as Markdown to paste into a ticket: at most 60 lines, data always in code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from forensics.domain.report import Report
from forensics.report.contract import read_document
from forensics.report.numbers import count_of, number, step
from forensics.report.operations import explain
from forensics.report.sanitize import sanitize, sanitize_block
from forensics.report.verdict import (
    VerdictView,
    blame_words,
    missing,
    named_where,
    origin_title,
    rows_text,
    source_place,
    view_verdict,
)
from forensics.report.words import SEVERITY, TRIAL, plain, sentence

# Together with the fixed lines at most 60 lines: about what a ticket shows without folding.
_FINDINGS, _CAUSES, _TRIALS, _NOT_CHECKED, _SNIPPET = 6, 3, 4, 4, 8
_LONGEST = 300
"""Characters of a text; the page holds the rest."""

# Words and plain punctuation, with no sign that Markdown, GitHub or GitLab gives a meaning.
_HARMLESS = re.compile(r"(?:[A-Za-z0-9 ,.;:()%+×=−–/'?-]|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9]))*")

Section = Mapping[str, Any]


def render_markdown(report: Report) -> str:
    """Return the report in short.

    Raises
    ------
    ReportUnreadable
        When the document does not follow the contract.
    """
    return markdown_of(read_document(report))


def markdown_of(document: Section) -> str:
    """Return the Markdown of a document that `read_document` returned."""
    lines = [*_verdict(document), *_origin(document["replay"]), *_fix(document)]
    lines += [*_causes(document), *_findings(document), *_trials(document["replay"])]
    lines += [*_not_checked(document)]
    tool = document["tool"]
    foot = ["", f"Made by {prose(tool['name'])} {prose(tool['version'])}."]
    return "\n".join([*lines, *foot]) + "\n"


def prose(text: str) -> str:
    """Return text as prose when nothing in it can be markup, else as code.

    Names that the text itself puts in backticks become code spans.
    """
    text = _short(text)
    pieces = re.split(r"`([^`]+)`", text)
    if len(pieces) > 1 and all(map(_harmless, pieces[::2])):
        return "".join(code(p) if i % 2 else p for i, p in enumerate(pieces))
    return text if text and _harmless(text) else code(text)


def _harmless(text: str) -> bool:
    """Whether a text means nothing to Markdown, neither inside a line nor at its start."""
    harmless = _HARMLESS.fullmatch(text) and "://" not in text and "www." not in text.lower()
    # A line that starts with one of these would become a list, a heading or a table.
    starts = text.startswith(("+", "-", "=", ":", "|")) or re.match(r"\d+[.)] ", text)
    return bool(harmless and not starts)


def code(text: str) -> str:
    """Return a code span whose fence is longer than any in the text; a pipe would end a cell."""
    text = _short(text).replace("|", "¦") or " "
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def code_block(text: str, language: str = "") -> list[str]:
    """Return a fenced block, the fence longer than any in the text."""
    lines = sanitize_block(text).strip("\n").split("\n")
    if len(lines) > _SNIPPET:
        lines = [*lines[: _SNIPPET - 1], "..."]
    fence = "`" * max(3, _longest_run("\n".join(lines)) + 1)
    return [fence + language, *(line[:_LONGEST] for line in lines), fence]


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


def _short(text: str) -> str:
    text = sanitize(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _verdict(document: Section) -> Iterator[str]:
    view: VerdictView = view_verdict(document)
    yield f"## {view.sign} {view.word}: {prose(sentence(view.headline, stop=''))}"
    yield ""
    if view.cause:
        sure = f" (confidence {view.confidence}; {view.grade})" if view.confidence else ""
        word = "Likely" if view.likely else "Possible"
        yield f"- **{word} cause:** {prose(view.cause)}{sure}"
    if view.when:
        yield f"- **First bad step:** {view.when}"
    if view.fix:
        word = "Fix, verified by replay" if view.fix.verified else "Fix, proposed"
        yield f"- **{word}:** {prose(view.fix.name)}. {prose(view.fix.why)}"
    if view.resume:
        where = code(view.resume.path) if view.resume.path else "no checkpoint"
        yield f"- **Resume from:** {where}. {prose(view.resume.detail)}"


def _origin(replay: Section) -> Iterator[str]:
    origin = replay["origin"]
    if origin is None:
        if replay["status"] != "not_run" and replay["reason"]:
            yield f"- **Replay:** {plain(replay['status'])}: {prose(sentence(replay['reason']))}"
        return
    title = prose(origin_title(origin))
    yield f"- **First bad op** ({named_where(replay)}): {title}"
    explanation = explain(origin)
    if explanation:
        yield f"- **What it does:** {prose(explanation)}"
    place = source_place(origin)
    if place:
        yield f"- **Source line:** {code(place)} {code(origin['source']['code'].strip())}"
    if rows_text(replay):
        yield f"- **Rows of the batch:** {prose(rows_text(replay))}"
    blame = replay["whose_bug"]
    if blame:
        yield f"- **Whose bug:** {prose(blame_words(blame))}"


def _fix(document: Section) -> Iterator[str]:
    fix = view_verdict(document).fix
    if fix and fix.snippet.strip():
        yield ""
        yield from code_block(fix.snippet, "python")


def _causes(document: Section) -> Iterator[str]:
    others = document["diagnoses"][1 : 1 + _CAUSES]
    if others:
        yield ""
        yield "**Other causes considered**"
        yield ""
    for diagnosis in others:
        name = prose(plain(diagnosis["cause"]))
        yield f"- {name} ({diagnosis['confidence']:.2f}): {prose(diagnosis['summary'])}"


def _findings(document: Section) -> Iterator[str]:
    found = document["findings"]
    if not found:
        return
    yield ""
    yield "| finding | | at step | what was seen |"
    yield "|---|---|---|---|"
    for finding in found[:_FINDINGS]:
        severity = SEVERITY.get(finding["severity"], plain(finding["severity"]))
        yield (
            f"| {code(finding['code'])} | {prose(severity)} | {step(finding['onset_step'])} "
            f"| {prose(sentence(finding['summary'], stop=''))} |"
        )
    if len(found) > _FINDINGS:
        yield f"| | | | and {len(found) - _FINDINGS} more in the report |"


def _trials(replay: Section) -> Iterator[str]:
    if not replay["trials"]:
        return
    yield ""
    yield "| tried | result | steps survived | loss |"
    yield "|---|---|---|---|"
    for trial in replay["trials"][:_TRIALS]:
        result = TRIAL.get(trial["status"], plain(trial["status"]))
        survived = f"{step(trial['steps_survived'])} of {step(trial['steps_tried'])}"
        losses = f"{number(trial['loss_before'])} → {number(trial['loss_after'])}"
        yield f"| {prose(plain(trial['remedy']))} | {prose(result)} | {survived} | {losses} |"


def _not_checked(document: Section) -> Iterator[str]:
    if not document["not_checked"]:
        return
    yield ""
    yield f"**Could not check** ({count_of(len(document['not_checked']), 'check')})"
    yield ""
    for group in missing(document)[:_NOT_CHECKED]:
        yield f"- {code(', '.join(group.codes))}: {prose(sentence(group.reason))}"
