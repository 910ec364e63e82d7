"""`forensics analyze LOGDIR`: read a run, judge it, render the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from forensics.cli.main import debug_option
from forensics.cli.output import FORMATS, check_outputs, show, write_outputs
from forensics.cli.progress import reporting
from forensics.cli.replay_options import read_options, replay_options
from forensics.errors import UsageError

_EXIT_CODES = (
    "Exit codes: 0 healthy; 1 findings at or above --fail-on; 2 wrong usage; 3 some input could "
    "not be examined and nothing worse was found; 4 internal error; 5 a replay was refused for "
    "lack of consent."
)


@debug_option
@click.command(
    "analyze", short_help="Say when and why a training run went wrong.", epilog=_EXIT_CODES
)
@click.argument("logdir", required=False, metavar="LOGDIR")
@click.option("--logdir", "named", metavar="LOGDIR", help="The same, as TensorBoard users type it.")
@replay_options
@click.option(
    "-o",
    "--output",
    "outputs",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Write the report there too, as .html, .json, .md or .txt; may be given several times.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="What is written to stdout.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "info", "never"]),
    default="error",
    show_default=True,
    help="The least severity that makes the exit code 1.",
)
def command(
    logdir: str | None,
    named: str | None,
    outputs: tuple[Path, ...],
    form: str,
    fail_on: str,
    **replaying: Any,
) -> int:
    """Say when and why a training run went wrong, from its logs and checkpoints.

    LOGDIR holds the event files, checkpoints and printed logs of ONE run; one event file or log
    may be given too, or a URL (s3://, gs://, hf://). With --replay the failing step is run again
    in a child process, which names the first bad operation.
    """
    folder = _one_of(logdir, named)
    check_outputs(outputs)
    from forensics.cli.exit_codes import exit_code
    from forensics.pipeline import analyze

    own, options = read_options(replaying)
    with reporting() as progress:
        report = analyze(folder, options=options, progress=progress, **own)
    write_outputs(report, outputs)
    show(report, form)
    return exit_code(report, fail_on)


def _one_of(logdir: str | None, named: str | None) -> str:
    if logdir and named:
        raise UsageError("LOGDIR was given twice: leave out --logdir")
    folder = logdir or named
    if not folder:
        raise UsageError("name the folder of the run: forensics analyze LOGDIR")
    return folder
