"""`forensics analyze LOGDIR`: read a run, judge it, render the report."""

from __future__ import annotations

import math
from pathlib import Path

import click

from forensics.cli.main import debug_option
from forensics.cli.output import FORMATS, check_outputs, show, write_outputs
from forensics.cli.progress import reporting
from forensics.errors import UsageError

_EXIT_CODES = (
    "Exit codes: 0 healthy; 1 findings at or above --fail-on; 2 wrong usage; 3 some input could "
    "not be examined and nothing worse was found; 4 internal error; 5 a replay was refused for "
    "lack of consent."
)


def _finite(_: click.Context, parameter: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is no number of seconds", param=parameter)
    return value


@debug_option
@click.command(
    "analyze", short_help="Say when and why a training run went wrong.", epilog=_EXIT_CODES
)
@click.argument("logdir", required=False, metavar="LOGDIR")
@click.option("--logdir", "named", metavar="LOGDIR", help="The same, as TensorBoard users type it.")
@click.option(
    "--replay",
    metavar="FILE:FUNCTION",
    help="Run the failing step again. The function returns a forensics.ReplayCase; this runs the "
    "code of FILE.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="Where the replay runs.",
)
@click.option(
    "--step-offset",
    type=click.IntRange(-(10**12), 10**12),
    default=0,
    show_default=True,
    metavar="STEPS",
    help="Added to logged steps to get the index of the batch, counted from 0.",
)
@click.option(
    "--replay-timeout",
    type=click.FloatRange(min=1.0),
    callback=_finite,
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="When the replay is stopped.",
)
@click.option(
    "--batch",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.npz",
    help="The batch to replay, where --replay names a saved model instead of a program.",
)
@click.option(
    "--trust",
    is_flag=True,
    help="Replay the recording found in LOGDIR although you did not name it: it runs that program.",
)
@click.option(
    "--scan",
    is_flag=True,
    help="Go over all batches of the data set for the guilty ones: for shuffled data.",
)
@click.option(
    "--trials/--no-trials",
    default=True,
    show_default=True,
    help="Try remedies on the failing step; it takes about as long as the rest of the replay.",
)
@click.option(
    "--python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Interpreter that the run was trained with, for the replay.",
)
@click.option(
    "--reproducer",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write a short script there that fails with the same operation.",
)
@click.option(
    "--with-data",
    is_flag=True,
    help="Let the reproducer hold the real operands, not synthetic ones.",
)
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
    replay: str | None,
    device: str,
    step_offset: int,
    replay_timeout: float,
    batch: Path | None,
    trust: bool,
    scan: bool,
    trials: bool,
    python: Path | None,
    reproducer: Path | None,
    with_data: bool,
    outputs: tuple[Path, ...],
    form: str,
    fail_on: str,
) -> int:
    """Say when and why a training run went wrong, from its logs and checkpoints.

    LOGDIR holds the TensorBoard event files and the checkpoints of ONE run. With --replay the
    failing step is run again in a child process, which names the first bad operation.
    """
    folder = _one_of(logdir, named)
    check_outputs(outputs)
    from forensics.cli.exit_codes import exit_code
    from forensics.pipeline import analyze
    from forensics.replay.request import ReplayOptions

    options = ReplayOptions(
        batch=batch,
        trust=trust,
        scan=scan,
        trials=trials,
        python=python,
        reproducer=reproducer,
        with_data=with_data,
    )
    with reporting() as progress:
        report = analyze(
            folder,
            replay=replay,
            device=device,
            step_offset=step_offset,
            replay_timeout=replay_timeout,
            options=options,
            progress=progress,
        )
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
