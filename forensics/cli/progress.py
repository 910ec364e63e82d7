"""Progress on stderr: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from forensics.report.sanitize import sanitize

Progress = Callable[[str], None]


@contextmanager
def reporting() -> Iterator[Progress]:
    """Give a function that takes one line at a time; rich is loaded on a terminal only."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield _plain
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("starting") as status:
        yield lambda line: status.update(escape(sanitize(line)))


def _plain(line: str) -> None:
    click.echo(f"  {sanitize(line)}", err=True)
