"""`forensics render REPORT.json`: a saved report in another format, without the logs."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from forensics.cli.main import debug_option
from forensics.cli.output import FORMATS, check_outputs, show, write_outputs
from forensics.errors import ReportUnreadable

if TYPE_CHECKING:
    from forensics.domain.report import Report

_MOST_BYTES = 64 << 20
"""Reports of hundreds of curves are a few MB."""


@debug_option
@click.command("render", short_help="Render a saved report.json again.")
@click.argument("report_file", metavar="REPORT.json", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "outputs",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Write it there, as .html, .json, .md or .txt; may be given several times.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="What is written to stdout; text when there is no -o.",
)
def command(report_file: Path, outputs: tuple[Path, ...], form: str | None) -> int:
    """Render a report that was saved as JSON; neither logs nor checkpoints are needed."""
    check_outputs(outputs)
    report = load_report(report_file)
    write_outputs(report, outputs)
    if form is not None or not outputs:
        show(report, form or "text")
    return 0


def load_report(path: Path) -> Report:
    """Read a saved report.

    Raises
    ------
    ReportUnreadable
        When the file cannot be read, is not strict JSON, or is not a report of this schema.
    """
    from forensics.domain.report import Report
    from forensics.report.contract import read_document

    try:
        document: Any = json.loads(_content(path), parse_constant=_not_json)
    except OSError as error:
        raise ReportUnreadable(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ReportUnreadable(f"{path} is not a saved report: {error}") from error
    if not isinstance(document, dict):
        raise ReportUnreadable(f"{path} is not a saved report: no JSON object")
    report = Report.from_dict(document)
    read_document(report)
    return report


def _content(path: Path) -> str:
    """Return the text of a regular file; a FIFO is not waited for.

    Raises
    ------
    ReportUnreadable
        When it is no regular file, or too large for a report.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ReportUnreadable(f"{path} is no regular file: name a saved report.json")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(_MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > _MOST_BYTES:
        raise ReportUnreadable(f"{path} is no saved report: it is larger than 64 MiB")
    return content.decode("utf-8")


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")
