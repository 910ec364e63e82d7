"""The report as strict, deterministic JSON: what every other format can be rendered from."""

from __future__ import annotations

import json
import re

from forensics.domain.report import Report

# JSON allows these raw inside strings, but a terminal, an editor or an encoder may stumble on
# them: the same set as `sanitize` shows by number, without what json escapes by itself.
_HIDDEN = re.compile(
    r"[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f]"
)

# Curves: arrays of numbers on one line. Inside a string a newline is escaped, so no string matches.
_ITEM = r"(?:-?[0-9][0-9.eE+-]*|null|\"(?:NaN|-?Infinity)\")"
_NUMBERS = re.compile(rf"\[\n\s*({_ITEM}(?:,\n\s*{_ITEM})*)\n\s*\]")


def render_json(report: Report) -> str:
    """Return ``report.json``: sections in the contract's order, non-finite numbers as strings.

    Raises
    ------
    ValueError
        When the document holds a float that JSON has no number for (it was not encoded).
    """
    text = json.dumps(report.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    return _HIDDEN.sub(_escaped, _NUMBERS.sub(_on_one_line, text)) + "\n"


def _on_one_line(found: re.Match[str]) -> str:
    return "[" + re.sub(r",\n\s*", ", ", found[1]) + "]"


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
