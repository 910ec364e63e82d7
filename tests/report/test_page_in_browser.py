"""The page in a real browser, scripts off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from forensics.domain.report import Report
from forensics.report.html import render_html
from tests.report.browser import Browser
from tests.report.documents import ALL, nan_report
from tests.report.payloads import MARKUP, plant_in_turn

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with Browser(chromium) as started:
        yield started


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(render_html(nan_report()), encoding="utf-8")
    return path


def test_the_page_stands_without_scripts(browser: Browser, page: Path) -> None:
    browser.open(page)
    dom = browser.dom()
    assert "Failed" in dom
    assert "Loss became NaN at step 108" in dom
    assert browser.count("figure svg") == 7
    assert browser.count("svg") == page.read_text(encoding="utf-8").count("<svg")
    assert browser.requests() == [page.as_uri()]
    assert browser.complaints() == [], "the policy must let the style sheet pass"


def test_scripts_change_nothing(browser: Browser, page: Path) -> None:
    browser.open(page)
    without = browser.dom()
    browser.open(page, scripts=True)
    assert browser.dom() == without


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("name", ALL)
def test_no_page_is_wider_than_its_window(
    browser: Browser, tmp_path: Path, name: str, width: int
) -> None:
    path = tmp_path / f"{name}.html"
    path.write_text(render_html(ALL[name]()), encoding="utf-8")
    browser.size(width)
    browser.open(path)
    assert browser.content_size()[0] <= width


def test_payloads_neither_run_nor_load(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    hostile = Report(plant_in_turn(nan_report().to_dict(), MARKUP))
    path.write_text(render_html(hostile), encoding="utf-8")
    browser.open(path, scripts=True)
    assert browser.requests() == [path.as_uri()]
    assert browser.count("script") == 0
    assert browser.count("body *[onload], body *[onerror], body *[style], img, iframe") == 0
    assert "<title>Failed: " in browser.dom()
