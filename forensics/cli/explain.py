"""`forensics explain NUM001`: what a code or a cause means, from the place that holds it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import click

from forensics.cli.main import debug_option
from forensics.cli.output import emit
from forensics.errors import UsageError


@debug_option
@click.command("explain", short_help="Say what a code or a cause means.")
@click.argument("word", required=False, metavar="[CODE|CAUSE]")
def command(word: str | None) -> int:
    """Say what a code of a finding (NUM001) or a cause (unsafe_operation) means.

    For a code: why it is bad, what is looked at, the thresholds in force and where they come from.
    For a cause: its meaning, what speaks for and against it, and what to do. Without a word: the
    list of both.
    """
    emit("\n".join(_listing() if word is None else _explanation(word)))
    return 0


def _explanation(word: str) -> Iterator[str]:
    from forensics.detectors.registry import DETECTORS
    from forensics.diagnosis.catalogue import CATALOGUE

    wanted = word.strip().lower().replace("-", "_").replace(" ", "_")
    pages = [_cause(wanted)] if wanted in {cause.value for cause in CATALOGUE} else []
    pages += [
        _detector(detector)
        for detector in DETECTORS
        if wanted in (detector.code.lower(), detector.name.replace("-", "_"))
    ]
    if not pages:
        raise UsageError(
            f"nothing is called {word!r}: `forensics explain` without a word lists all there is"
        )
    for number, page in enumerate(pages):
        if number:
            yield from ("", "")
        yield from page


def _detector(detector: object) -> Iterator[str]:
    """Yield the documentation of a detector, as its file holds it."""
    code, name = getattr(detector, "code", ""), getattr(detector, "name", "")
    yield f"{code}  {name}"
    yield ""
    yield _without_markup(inspect.getdoc(type(detector)) or "")
    if is_dataclass(detector):
        yield ""
        yield "Limits in force"
        yield "---------------"
        values = [(f.name, getattr(detector, f.name)) for f in fields(detector)]
        yield from (f"{key} = {value}" for key, value in values) if values else ["none"]
    yield ""
    yield f"Looks at: {', '.join(str(r) for r in getattr(detector, 'requires', ()))}"
    if getattr(detector, "needs_replay", False):
        yield "Needs the failing step to be run again: --replay FILE:function."


def _cause(slug: str) -> Iterator[str]:
    from forensics.diagnosis.catalogue import CATALOGUE
    from forensics.diagnosis.remedies import REMEDIES
    from forensics.domain.diagnosis import Cause
    from forensics.report.words import plain

    entry = CATALOGUE[Cause(slug)]
    yield slug
    yield ""
    yield f"{entry.meaning[:1].upper()}{entry.meaning[1:]}."
    for title, sign in (("Speaks for it", 1), ("Speaks against it", -1)):
        found = sorted(
            ((w, s) for s, w in entry.weights.items() if w * sign > 0), key=lambda e: -e[0] * sign
        )
        if found:
            yield ""
            yield f"{title} (weight: natural logarithm of the likelihood ratio)"
            yield from (f"  {weight:+5.1f}  {plain(clue.value)}" for weight, clue in found)
    if entry.decide:
        yield ""
        yield f"To decide: {entry.decide}."
    for slug_of_remedy in entry.remedies:
        why, snippet = REMEDIES[slug_of_remedy]
        yield ""
        yield f"Remedy: {plain(slug_of_remedy)}: {why}"
        yield from (f"    {line}" for line in snippet.splitlines())


def _listing() -> Iterator[str]:
    from forensics.detectors.registry import DETECTORS
    from forensics.diagnosis.catalogue import CATALOGUE

    yield "Codes of findings"
    yield from (f"  {d.code}  {d.name}" for d in sorted(DETECTORS, key=lambda d: d.code))
    yield ""
    yield "Causes"
    width = max(len(cause.value) for cause in CATALOGUE)
    yield from (f"  {cause.value:{width}s}  {e.meaning}" for cause, e in CATALOGUE.items())


def _without_markup(text: str) -> str:
    """Return a docstring without the marks of reStructuredText that mean nothing on a terminal."""
    text = re.sub(r"\*\*(.+?)\*\*", r"\1", text)
    return re.sub(r"^\.\. \[", "[", text.replace("``", "`"), flags=re.MULTILINE)
