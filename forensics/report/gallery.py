"""The gallery: one rendered page for every stored report of the fixtures, and an index.

``python -m forensics.report.gallery FIXTURES REPORTS`` renders
``FIXTURES/<cause>/<variant>/report.json`` to ``REPORTS/<cause>-<variant>.html``. The pages are
committed, so that every change of wording or chart is seen in review; tests compare them after
`scrub`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from forensics.domain.report import Report
from forensics.report.html import environment, render_html
from forensics.report.verdict import VerdictView, view_verdict

INDEX = "index.html"

_SCRUBS = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"), "TIME"),
    (re.compile(r"(?<=Made by )(\S+) \S+?(?=[,<]|\.?$|\. )", re.MULTILINE), r"\1 VERSION"),
    (re.compile(r"(?<![\w/.])(?:[A-Za-z]:)?[\\/](?:[\w.@+~-]+[\\/])+"), "PATH/"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored report and its page."""

    name: str
    source: Path
    report: Report

    @property
    def page(self) -> str:
        """File name of the page."""
        return f"{self.name}.html"

    @property
    def verdict(self) -> VerdictView:
        """The verdict in words."""
        from forensics.report.contract import read_document

        return view_verdict(read_document(self.report))


def entries(fixtures: Path) -> Iterator[Entry]:
    """Yield every stored report below ``fixtures``, by name.

    Raises
    ------
    ReportUnreadable
        When a stored report does not follow the contract.
    """
    for source in sorted(fixtures.glob("*/*/report.json")):
        name = f"{source.parent.parent.name}-{source.parent.name}"
        document = json.loads(source.read_text(encoding="utf-8"))
        yield Entry(name, source, Report.from_dict(document))


def pages(fixtures: Path) -> Iterator[tuple[str, str]]:
    """Yield (file name, page) for every stored report, the index last."""
    found = list(entries(fixtures))
    for entry in found:
        yield entry.page, render_html(entry.report)
    yield INDEX, environment().get_template("index.html.j2").render(entries=found) + "\n"


def write_gallery(fixtures: Path, reports: Path) -> tuple[str, ...]:
    """Render all pages, remove those whose fixture is gone, return the names."""
    reports.mkdir(parents=True, exist_ok=True)
    made = dict(pages(fixtures))
    for name, page in made.items():
        (reports / name).write_text(page, encoding="utf-8", newline="\n")
    for old in reports.glob("*.html"):
        if old.name not in made:
            old.unlink()
    return tuple(made)


def scrub(page: str) -> str:
    """Blank what may differ between two equal pages: times, the version, absolute folders."""
    for pattern, blank in _SCRUBS:
        page = pattern.sub(blank, page)
    return page


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the two folders from the command line and write the gallery."""
    parser = argparse.ArgumentParser(prog="python -m forensics.report.gallery", description=__doc__)
    parser.add_argument("fixtures", type=Path)
    parser.add_argument("reports", type=Path)
    options = parser.parse_args(arguments)
    write_gallery(options.fixtures, options.reports)


if __name__ == "__main__":
    main()
