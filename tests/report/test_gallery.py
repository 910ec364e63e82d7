"""The gallery of rendered fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from forensics.report.gallery import INDEX, entries, main, pages, scrub
from forensics.report.json import render_json
from tests.report.documents import healthy_report, nan_report


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    for cause, variant, report in (
        ("unstable_loss", "log_zero", nan_report()),
        ("healthy", "cnn", healthy_report()),
    ):
        folder = tmp_path / "fixtures" / cause / variant
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(render_json(report), encoding="utf-8")
    return tmp_path / "fixtures"


def test_every_fixture_gets_a_page_and_a_line_in_the_index(stored: Path, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    (reports / "gone-fixture.html").write_text("old")
    main([str(stored), str(reports)])
    names = sorted(path.name for path in reports.iterdir())
    assert names == ["healthy-cnn.html", INDEX, "unstable_loss-log_zero.html"]
    index = (reports / INDEX).read_text(encoding="utf-8")
    assert index.index("healthy-cnn.html") < index.index("unstable_loss-log_zero.html")
    assert "<code>Log</code> of zero in the loss" in index


def test_pages_are_the_same_every_time(stored: Path) -> None:
    assert dict(pages(stored)) == dict(pages(stored))


def test_scrubbing_blanks_times_versions_and_folders_only() -> None:
    page = "at 2025-06-15 15:06:40 UTC in /home/x/runs/a.txt, a/b kept. Made by tool 1.2.3, format"
    assert scrub(page) == "at TIME in PATH/a.txt, a/b kept. Made by tool VERSION, format"


def test_the_committed_gallery_is_current(repo_root: Path) -> None:
    fixtures, reports = repo_root / "fixtures", repo_root / "reports"
    if not any(entries(fixtures)):
        pytest.skip("no stored reports below fixtures/")
    for name, page in pages(fixtures):
        committed = (reports / name).read_text(encoding="utf-8")
        assert scrub(committed) == scrub(page), f"{name} is old: run `make reports` and look at it"
    known = {name for name, _ in pages(fixtures)}
    assert {path.name for path in reports.glob("*.html")} == known
