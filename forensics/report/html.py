"""The report as one self-contained page: no script, no external request, data always escaped.

Two layers keep foreign markup out, because one alone was seen to fail: autoescape (a naive template
let 19 of 27 payloads run) and a content security policy (which alone lets a meta refresh through).
"""

from __future__ import annotations

import base64
import hashlib
import re
import textwrap
from functools import cache
from typing import TYPE_CHECKING, Any

from forensics.domain.report import Report
from forensics.report import numbers, words
from forensics.report.contract import read_document
from forensics.report.markdown import markdown_of
from forensics.report.page import LAYER_COLUMNS, build_page
from forensics.report.sanitize import sanitize_block
from forensics.report.templates import template_folder
from forensics.report.verdict import (
    bad_rows,
    grade_words,
    missing,
    replay_text,
    rows_text,
    scan_text,
    source_place,
)

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

MOST_ROWS = 1000
"""Rows of a table on the page; the JSON holds all of them."""


def render_html(report: Report) -> str:
    """Return the page.

    Raises
    ------
    ReportUnreadable
        When the document does not follow the contract.
    """
    page = build_page(read_document(report))
    template = environment().get_template("report.html.j2")
    return template.render(page=page, doc=page.document, ticket=markdown_of(page.document)) + "\n"


@cache
def environment() -> Environment:
    """Return the templates with everything escaped, sanitised and strictly defined."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = template_folder()
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Read as text, so that line ends are those a browser hashes.
    style = (folder / "style.css").read_text(encoding="utf-8")
    made.globals |= {
        "style": Markup(style),
        "policy": content_policy(style),
        "words": words,
        "layer_columns": LAYER_COLUMNS,
        "most_rows": MOST_ROWS,
        "bad_rows": bad_rows,
        "grade_words": grade_words,
        "source_place": source_place,
        "missing": missing,
        "replay_text": replay_text,
        "rows_text": rows_text,
        "scan_text": scan_text,
    }
    made.filters |= {
        "num": numbers.number,
        "step": numbers.step,
        "pct": numbers.percent,
        "confidence": numbers.confidence,
        "size": numbers.size,
        "shape": numbers.shape,
        "interval": numbers.interval,
        "span": lambda pair: numbers.span(*pair),
        "rows": numbers.rows,
        "moment": numbers.moment,
        "duration": numbers.duration,
        "plain": words.plain,
        "sentence": words.sentence,
        "prose": _prose,
        "dedent": textwrap.dedent,
        "variable": words.variable,
    }
    made.globals["count_of"] = numbers.count_of
    return made


def content_policy(style: str) -> str:
    """Return the content security policy that allows this one style sheet and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _prose(text: str, stop: str = ".") -> Markup:
    """Return a sentence whose names in backticks are set as code; every part of it is escaped."""
    from markupsafe import Markup, escape

    parts = re.split(r"`([^`\n]+)`", words.sentence(text, stop))
    set_in = (Markup("<code>{}</code>"), Markup("{}"))
    return Markup("").join(
        set_in[index % 2 == 0].format(escape(sanitize_block(part)))
        for index, part in enumerate(parts)
    )


def _shown(value: Any) -> Any:
    """Prepare what a template prints: unknown as a dash, unsafe characters by their numbers."""
    if value is None:
        return numbers.UNKNOWN
    # Markup is what our own macros made: its data went through here before.
    return sanitize_block(value) if type(value) is str else value
