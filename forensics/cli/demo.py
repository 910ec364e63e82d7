"""`forensics demo`: a run that learns, a run that goes NaN, and a report on each."""

from __future__ import annotations

from pathlib import Path

import click

from forensics.cli.main import complain, debug_option
from forensics.cli.output import emit
from forensics.cli.progress import reporting


@debug_option
@click.command("demo", short_help="Train a good and a bad run, and report on both.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo"),
    show_default=True,
    metavar="DIR",
    help="Where runs and reports are written.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="Where the replay runs.",
)
def command(output: Path, device: str) -> int:
    """Train the same small network on 100 images and on 9,000, and analyse both runs.

    The first learns, the second ends in NaN; its failing step is run again to find the operation
    that did it. Takes about a minute.
    """
    from forensics.demo import run_demo

    with reporting() as progress:
        result = run_demo(output, device=device, progress=progress)
    emit(result.summary())
    if not result.as_described:
        return complain("the demo did not end as described; the reports say what was seen", 4)
    return 0
