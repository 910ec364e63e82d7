"""Where results go: rendered by format or suffix, whole or not at all."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from forensics.errors import CannotWrite, UsageError

if TYPE_CHECKING:
    from forensics.domain.report import Report

FORMATS = ("text", "json", "markdown", "html")
SUFFIXES = {".html": "html", ".htm": "html", ".json": "json", ".md": "markdown", ".txt": "text"}
_FILE_WIDTH = 100
_MAX_WIDTH = 120


def render(report: Report, form: str, *, color: bool = False, width: int = 80) -> str:
    """Return the report in one of ``FORMATS``; only the renderer that is needed is loaded."""
    if form == "json":
        from forensics.report.json import render_json

        return render_json(report)
    if form == "html":
        from forensics.report.html import render_html

        return render_html(report)
    if form == "markdown":
        from forensics.report.markdown import render_markdown

        return render_markdown(report)
    from forensics.report.terminal import render_terminal

    return render_terminal(report, color=color, width=width)


def check_outputs(paths: Sequence[Path]) -> None:
    """Refuse files that cannot be written before any work is done.

    Raises
    ------
    UsageError
        For a suffix without a format, a folder that does not exist or may not be written to.
    """
    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(
                f"-o {path}: the suffix chooses the format, one of {', '.join(SUFFIXES)}"
            )
        if path.is_dir():
            raise UsageError(f"-o {path}: this is a folder, name a file in it")
        if not path.resolve().parent.is_dir():
            raise UsageError(f"-o {path}: there is no folder {path.parent}, make it first")
        if not os.access(path.resolve().parent, os.W_OK):
            raise UsageError(f"-o {path}: no permission to write to {path.parent}")


def write_outputs(report: Report, paths: Sequence[Path]) -> None:
    """Write the report to every path, in the format of its suffix.

    Raises
    ------
    UsageError
        When a file cannot be written; no half file is left.
    """
    for path in paths:
        form = SUFFIXES[path.suffix.lower()]
        write_whole(path, render(report, form, width=_FILE_WIDTH))


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that a reader sees all of it or the one that was there before.

    Raises
    ------
    UsageError
        When it cannot be written.
    """
    target = path.resolve()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        try:
            part.write_text(text, encoding="utf-8", newline="\n")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def show(report: Report, form: str) -> None:
    """Write the report to stdout; colours and the terminal's width only for text on a terminal."""
    terminal = form == "text" and sys.stdout is not None and sys.stdout.isatty()
    color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = min(shutil.get_terminal_size().columns, _MAX_WIDTH) if terminal else 80
    emit(render(report, form, color=color, width=width), "utf-8" if form != "text" else None)


def emit(text: str, encoding: str | None = None) -> None:
    """Write text to stdout; what its encoding lacks is replaced, never an error.

    Raises
    ------
    CannotWrite
        When stdout is closed or full. A reader that went away (``| head``) is a `BrokenPipeError`.
    """
    if sys.stdout is None:
        raise CannotWrite("cannot write to stdout: it is closed")
    encoding = encoding or getattr(sys.stdout, "encoding", None) or "utf-8"
    if not text.endswith("\n"):
        text += "\n"
    try:
        click.echo(text.encode(encoding, "replace"), nl=False)
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_stdout()
        raise CannotWrite(f"cannot write to stdout: {error.strerror or error}") from error


def discard_stdout() -> None:
    """Let what is left in the buffer of stdout go nowhere: at its end Python would try again."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, sys.stdout.fileno())
        finally:
            os.close(nowhere)
