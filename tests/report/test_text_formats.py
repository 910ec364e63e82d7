"""JSON, Markdown and terminal text."""

from __future__ import annotations

import json
import math
import re

import pytest

from forensics.domain.report import Report
from forensics.errors import ReportUnreadable
from forensics.report import numbers
from forensics.report.json import render_json
from forensics.report.markdown import code, code_block, prose, render_markdown
from forensics.report.sanitize import sanitize, sanitize_block
from forensics.report.terminal import render_terminal
from forensics.report.words import sentence
from tests.report.documents import ALL, big_report, nan_report
from tests.report.payloads import CONTROLS, MARKDOWN, MARKUP, plant, plant_in_turn


@pytest.mark.parametrize("name", ALL)
def test_json_gives_the_document_back(name: str) -> None:
    report = ALL[name]()
    text = render_json(report)
    assert json.loads(text) == report.to_dict()
    assert render_json(Report.from_dict(json.loads(text))) == text


def test_json_is_strict_and_keeps_letters() -> None:
    document = nan_report().to_dict()
    document["run"] = document["run"] | {"name": "größe 損失"}
    text = render_json(Report(document))
    assert "größe 損失" in text
    document["run"] = document["run"] | {"wall_time_start": math.nan}
    with pytest.raises(ValueError, match="JSON"):
        render_json(Report(document))


@pytest.mark.parametrize("payload", [*CONTROLS, *MARKUP])
def test_json_hides_no_character(payload: str) -> None:
    document = nan_report().to_dict()
    document["run"] = document["run"] | {"name": payload}
    text = render_json(Report(document))
    assert json.loads(text.encode("utf-8"))["run"]["name"] == payload
    assert sanitize_block(text) == text


def test_json_keeps_curves_on_one_line() -> None:
    lines = render_json(big_report()).split("\n")
    assert len(lines) < 5000
    assert sum(line.lstrip().startswith('"steps": [0, 500, 1000') for line in lines) == 12


@pytest.mark.parametrize("name", [*ALL, "big"])
def test_markdown_is_short_and_closed(name: str) -> None:
    report = big_report() if name == "big" else ALL[name]()
    text = render_markdown(report)
    lines = text.split("\n")
    assert len(lines) <= 60
    assert lines[0].startswith("## ")
    assert sum(line.startswith("```") for line in lines) % 2 == 0


def test_markdown_says_what_matters() -> None:
    text = render_markdown(nan_report())
    for words in (
        "## ✖ Failed: Loss became NaN at step 108: `Log` of zero",
        "**Likely cause:** unstable loss (confidence 0.86; a fix was tried and the run survived)",
        "**Fix, verified by replay:** safe log.",
        "**Resume from:** `ckpt/ckpt-100`.",
        "**Source line:** `train.py:42` `log_p = tf.math.log(p)`",
        "```python\nlog_p = tf.math.log(p + 1e-7)\n```",
        "| `NUM001` | error | 108 |",
        "| safe log | fixed | 50 of 50 | 0.31 → 0.21 |",
    ):
        assert words in text


def test_markdown_stays_short_whatever_the_data_holds() -> None:
    document = nan_report().to_dict()
    for section in ("findings", "not_checked", "diagnoses"):
        document[section] = document[section] * 40
    remedy = {"remedy": "r", "why": "w", "snippet": "x = 1\n" * 500, "trial": None}
    document["diagnoses"] = [{**d, "remedies": [remedy]} for d in document["diagnoses"]]
    document["replay"] = document["replay"] | {"trials": document["replay"]["trials"] * 40}
    assert len(render_markdown(Report(document)).split("\n")) <= 60


@pytest.mark.parametrize("payload", [*MARKDOWN, *MARKUP, *CONTROLS])
def test_markup_stays_inside_code_in_markdown(payload: str) -> None:
    text = render_markdown(Report(plant(nan_report().to_dict(), payload)))
    assert len(text.split("\n")) <= 60
    outside = without_code(text)
    assert not re.search(r"<|\]\(|!\[|@|://|www\.|\$|^#{1} |^>|^- \[", outside, re.M), outside
    assert sanitize_block(text) == text


def without_code(text: str) -> str:
    """Markdown without its blocks and spans of code, as a renderer would cut them out."""
    text = re.sub(r"^(`{3,})[a-z]*\n.*?^\1$", "", text, flags=re.S | re.M)
    return re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", text)


@pytest.mark.parametrize("text", ["`", "``", "a``b`c", "```\nx\n```", "~~~", "|"])
def test_fences_are_longer_than_any_in_the_data(text: str) -> None:
    span = code(text)
    fence = re.match("`+", span)
    assert fence is not None
    assert fence[0] not in re.findall("`+", sanitize(text))
    assert span.endswith(fence[0])
    opening, *inside, closing = code_block(text)
    assert opening == closing
    assert all(closing not in line for line in inside)


def test_prose_keeps_plain_sentences_plain() -> None:
    assert prose("The loss fell, then rose (×4).") == "The loss fell, then rose (×4)."
    assert prose("`Log` in my_loss") == "`Log` in my_loss"
    assert prose("a *b*") == "`a *b*`"
    assert prose("1. item") == "`1. item`"
    assert prose("") == "` `"


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", ALL)
def test_terminal_lines_fit(name: str, width: int) -> None:
    text = render_terminal(ALL[name](), width=width)
    assert max(len(line) for line in text.split("\n")) <= width
    assert "\x1b" not in text


def test_terminal_says_what_matters() -> None:
    text = " ".join(render_terminal(nan_report(), width=100).split())
    for words in (
        "✖ FAILED Loss became NaN at step 108",
        "likely cause unstable loss",
        "how sure 0.86 (a fix was tried and the run survived)",
        "resume from ckpt/ckpt-100. Saved at step 100, 8 steps before the failure; clean.",
        "First bad op (replay of step 108) op Log in the loss",
        "source line train.py:42 log_p = tf.math.log(p)",
        "batch rows Rows 3–5, 17 of the batch of step 108. 2 independent culprits",
        "Fix, verified by replay what safe log",
        "error NUM001",
        "Could not check (2)",
    ):
        assert words in text, words


def test_terminal_colours_only_when_asked() -> None:
    colored = render_terminal(nan_report(), color=True)
    assert "\x1b[1;31m✖ FAILED\x1b[0m" in colored
    assert re.sub(r"\x1b\[[\d;]*m", "", colored) == render_terminal(nan_report())


@pytest.mark.parametrize("payload", [*CONTROLS, *MARKUP])
def test_nothing_in_the_data_steers_the_terminal(payload: str) -> None:
    for hostile in (
        plant(nan_report().to_dict(), payload),
        plant(nan_report().to_dict(), payload, also_words=True),
        plant_in_turn(nan_report().to_dict(), [payload]),
    ):
        text = render_terminal(Report(hostile))
        assert sanitize(text.replace("\n", "")) == text.replace("\n", "")
        assert not any(line.startswith("forged") for line in text.split("\n"))


def test_the_sanitiser_shows_numbers() -> None:
    assert sanitize("a\x1b[0m\nb\u202e") == "a\\x1b[0m\\x0ab\\u202e"
    assert sanitize_block("a\n\tb\r") == "a\n\tb\\x0d"
    assert sanitize("größe 損失 −1 …") == "größe 損失 −1 …"


def test_every_format_refuses_what_is_no_report() -> None:
    broken = Report(nan_report().to_dict() | {"verdict": []})
    for render in (render_markdown, render_terminal):
        with pytest.raises(ReportUnreadable, match="verdict"):
            render(broken)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (1234567, "1,234,567"),
        (-3, "−3"),
        (0.001, "0.001"),
        (0.000012345, "1.234e-5".replace("-", "−")),
        (3.4e38, "3.4e38"),
        (99999.6, "100,000"),
        (math.nan, "NaN"),
        (-math.inf, "−Inf"),
        (0.30000000000000004, "0.3"),
    ],
)
def test_numbers_read_well(value: float | None, text: str) -> None:
    assert numbers.number(value) == text


def test_other_quantities_read_well() -> None:
    assert numbers.size(999) == "999 B"
    assert numbers.size(81_342) == "81.3 kB"
    assert numbers.percent(0.41) == "41 %"
    assert numbers.percent(1e-6) == "< 0.1 %"
    assert numbers.rows([5, 3, 4, 17]) == "3–5, 17"
    assert numbers.duration(90_000) == "1 d 1 h"
    assert numbers.shape([]) == "scalar"
    assert numbers.moment(1e300) == "–"


def test_sentences_start_with_a_capital_but_names_stay() -> None:
    assert sentence("the loss rose") == "The loss rose."
    assert sentence("batch_loss rose!") == "batch_loss rose!"
    assert sentence("ckpt/ckpt-1 is bad", stop="") == "ckpt/ckpt-1 is bad"
    assert sentence("") == ""
