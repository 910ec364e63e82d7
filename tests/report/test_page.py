"""The page: what it says, what it never does."""

from __future__ import annotations

import json
import re
from functools import cache
from html.parser import HTMLParser

import pytest

from forensics.domain.report import Report
from forensics.report.html import content_policy, render_html
from forensics.report.json import render_json
from forensics.report.templates import template_folder
from tests.report.documents import ALL, big_report, nan_report
from tests.report.payloads import CONTROLS, MARKUP, plant, plant_in_turn

VOID = {"meta", "br", "link", "img", "input", "hr", "base", "col", "embed", "source", "wbr"}
SVG_ALONE = {"path", "rect", "circle"}
URLS = {"href", "src", "action", "data", "srcdoc", "formaction", "poster", "xlink:href"}


class Outline(HTMLParser):
    """Elements with their attributes, ids, links, and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.kinds: set[tuple[str, frozenset[str]]] = set()
        self.count: dict[str, int] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.mistakes: list[str] = []
        self.words: list[str] = []
        self.headings: list[int] = []
        self.comments: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.mistakes.append(f"{tag} repeats an attribute")
        self.kinds.add((tag, frozenset(names)))
        self.count[tag] = self.count.get(tag, 0) + 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.mistakes.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


@cache
def usual_outline() -> Outline:
    return Outline(render_html(nan_report()))


@pytest.mark.parametrize("name", ALL)
def test_a_page_is_well_formed_and_points_only_into_itself(name: str) -> None:
    page = Outline(render_html(ALL[name]()))
    assert page.mistakes == []
    assert page.open == []
    ids = page.of("id")
    assert len(ids) == len(set(ids))
    links = [value for _, attribute, value in page.attributes if attribute in URLS]
    assert links
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert set(page.of("aria-labelledby")) <= set(ids)
    assert not {"script", "img", "iframe", "form", "link", "object"} & set(page.count)
    assert not [n for _, n, _ in page.attributes if n.startswith("on") or n == "style"]


@pytest.mark.parametrize("name", ALL)
def test_headings_and_landmarks_are_in_order(name: str) -> None:
    page = Outline(render_html(ALL[name]()))
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    steps = zip(page.headings, page.headings[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)
    for landmark in ("header", "main", "nav", "footer", "title"):
        assert page.count[landmark] >= 1


def test_the_verdict_comes_first_and_says_everything() -> None:
    text = Outline(render_html(nan_report())).text
    verdict = text[: text.index("What happened when")]
    for words in (
        "Failed : training broke down",
        "Loss became NaN at step 108: Log of zero in the loss (train.py:42)",
        "Likely cause unstable loss",
        "How sure 0.86 of 1",
        "How it is known a fix was tried and the run survived",
        "First bad op Log in the loss train.py:42",
        "Fix, verified by replay ✔ safe log",
        "log_p = tf.math.log(p + 1e-7)",
        "Resume from ckpt/ckpt-100 Saved at step 100, 8 steps before the failure; clean.",
        "Replayed from it, the run survives for 50 steps with: safe log.",
    ):
        assert words in verdict


def test_the_page_answers_what_people_ask() -> None:
    text = Outline(render_html(nan_report())).text
    for words in (
        "the smallest value that went in is 0 (3 of 320 are 0)",
        "Rows 3–5, 17 of the batch of step 108. 2 independent culprits",
        "SqrtGrad (gradient of Sqrt) in layer norm, in the backward pass",
        "Detected Infinity or NaN in output 0 of graph op Log",
        "1 op with NaN or Inf that did no harm",
        "exploding gradients (0.41)",
        "Ruled out",
        "only delayed 31 of 50",
        "resume from this one",
        "6 more variables",
        "All 21 checkpoints",
        "From step 74 (between 70 – 78).",
        "p = 0.0004",
        "keras.callbacks.TensorBoard(logdir, histogram_freq=1)",
        "Checked without a finding: LOS001.",
        "392 points NaN or Inf, the first is NaN at step 108",
        "python reproduce_step_108.py",
        "0f" * 32,
        "last record cut off",
        "2025-06-15 15:06:40 UTC",
        "12 min 34 s",
    ):
        assert words in text, words


def test_a_fix_that_was_not_tried_is_not_called_verified() -> None:
    document = nan_report().to_dict()
    diagnosis = document["diagnoses"][0]
    remedies = [{**r, "trial": None} for r in diagnosis["remedies"]]
    document["diagnoses"] = [{**diagnosis, "remedies": remedies}]
    text = Outline(render_html(Report(document))).text
    assert "Fix, proposed but not verified" in text
    assert "Fix, verified" not in text


def test_the_healthy_page_counts_its_checks_and_offers_no_fix() -> None:
    text = Outline(render_html(ALL["healthy"]())).text
    assert "Checks without a finding 4" in text
    assert "Points read 1,510" in text
    assert "Resume from" not in text
    assert "Which op" not in text


def test_the_charts_are_drawn_by_attributes() -> None:
    page = render_html(nan_report())
    charts = re.findall(r'<svg viewBox="0 0 480.*?</svg>', page, re.S)
    # Loss, gradient norm and learning rate with two panels each, the loss per epoch with one.
    assert len(charts) == 7
    for chart in charts:
        assert 'aria-label="' in chart
        for shape in re.findall(r"<(?:path|rect|circle|text)\b[^>]*>", chart):
            assert "fill=" in shape or "stroke=" in shape, shape
    assert "<title>NaN at steps 108–499</title>" in charts[0]
    assert "<title>NaN at steps 108–157</title>" in charts[1]
    assert "<title>Step 108 was replayed</title>" in charts[0]
    assert "<title>ckpt/ckpt-100, step 100: clean</title>" in charts[1]


@pytest.mark.parametrize("also_words", [False, True])
@pytest.mark.parametrize("payload", MARKUP)
def test_markup_in_the_data_comes_out_as_text(payload: str, also_words: bool) -> None:
    hostile = plant(nan_report().to_dict(), payload, also_words=also_words)
    page = Outline(render_html(Report(hostile)))
    usual = usual_outline()
    assert page.mistakes == []
    assert page.comments == []
    allowed = usual.kinds | {("a", frozenset({"href"})), ("em", frozenset())}
    # A bare text loses the class and the row of a known word, never gains an element.
    strange = {tag for tag, _ in page.kinds} - {tag for tag, _ in allowed}
    assert strange == set()
    known = {attribute for _, attributes in allowed for attribute in attributes}
    assert {a for _, attributes in page.kinds for a in attributes} <= known
    assert all(link.startswith("#") for link in page.of("href"))
    assert page.of("content")[0].startswith("default-src 'none'")


def test_markup_in_the_data_stays_readable() -> None:
    payload = "<script>document.title='run'</script>"
    text = Outline(render_html(Report(plant(nan_report().to_dict(), payload)))).text
    assert payload in text


@pytest.mark.parametrize("payload", CONTROLS)
def test_control_characters_are_shown_by_number(payload: str) -> None:
    page = render_html(Report(plant(nan_report().to_dict(), payload)))
    page.encode("utf-8")
    assert not re.search(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]", page
    )


def test_a_page_full_of_payloads_is_well_formed() -> None:
    hostile = plant_in_turn(nan_report().to_dict(), (*MARKUP, *CONTROLS))
    page = Outline(render_html(Report(hostile)))
    assert page.mistakes == []
    assert "script" not in page.count


def test_the_style_sheet_is_the_one_the_policy_allows() -> None:
    page = render_html(nan_report())
    style = re.search(r"<style>(.*?)</style>", page, re.S)
    assert style is not None
    assert style[1] == (template_folder() / "style.css").read_text(encoding="utf-8")
    policy = content_policy(style[1]).replace("'", "&#39;")
    assert f'content="{policy}"' in page
    assert "url(" not in style[1]
    assert "@import" not in style[1]


@pytest.mark.parametrize("name", ALL)
def test_a_saved_report_renders_the_same_page(name: str) -> None:
    report = ALL[name]()
    again = Report.from_dict(json.loads(render_json(report)))
    assert render_html(again) == render_html(report)


def test_twelve_long_series_stay_small() -> None:
    assert len(render_html(big_report()).encode("utf-8")) <= 300_000


def test_a_thousand_series_stay_bounded() -> None:
    page = render_html(big_report(n_series=1500, points=60))
    assert len(page.encode("utf-8")) <= 1_000_000
    assert "500 more in the JSON" in page
