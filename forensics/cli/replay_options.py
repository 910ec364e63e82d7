"""The options of a replay, for every command that runs one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from forensics.replay.request import ReplayOptions

GIGABYTE = 2**30


def finite(_: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """Refuse the NaN and Inf that a float option takes."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no finite number", param=parameter)
    return value


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--replay",
        metavar="SOURCE",
        help="Run the failing step again: FILE.py:FUNCTION, which returns a "
        "forensics.ReplayCase; or a recording (LOGDIR/flight), a .keras file or a SavedModel "
        "folder. This runs its code.",
    ),
    click.option(
        "--batch",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE.npz",
        help="The batch to replay, where --replay names a saved model.",
    ),
    click.option(
        "--trust",
        is_flag=True,
        help="Replay the recording found in LOGDIR, although you did not name it.",
    ),
    click.option(
        "--scan",
        is_flag=True,
        help="Go over all batches of the data set for the guilty ones: for shuffled data.",
    ),
    click.option(
        "--trials/--no-trials",
        default=True,
        show_default=True,
        help="Try remedies on the failing step; it takes about as long as all the rest.",
    ),
    click.option(
        "--reproducer",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Write a short script there that fails with the same operation.",
    ),
    click.option(
        "--with-data",
        is_flag=True,
        help="Let the reproducer hold the real operands, not synthetic ones.",
    ),
    click.option(
        "--step-offset",
        type=click.IntRange(-(10**12), 10**12),
        default=0,
        show_default="0",
        metavar="STEPS",
        help="Added to logged steps to get the index of the batch, counted from 0.",
    ),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "gpu"]),
        default="auto",
        show_default=True,
        help="Where the replay runs.",
    ),
    click.option(
        "--python",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="Interpreter that the run was trained with, to replay it there.",
    ),
    click.option(
        "--replay-timeout",
        type=click.FloatRange(min=1.0),
        callback=finite,
        default=600.0,
        show_default="600",
        metavar="SECONDS",
        help="When the replay is stopped.",
    ),
    click.option(
        "--replay-memory",
        type=click.FloatRange(min=0.1),
        callback=finite,
        metavar="GB",
        help="Memory that the replay may take; 80 % of the machine's if not given.",
    ),
)


def replay_options(command: Any) -> Any:
    """Add the options of a replay to a command, in the order of the help."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_options(given: dict[str, Any]) -> tuple[dict[str, Any], ReplayOptions]:
    """Split what was given into arguments of `analyze` and the rest of what a replay wants."""
    from forensics.replay.request import ReplayOptions

    own = {key: given[key] for key in ("replay", "device", "step_offset", "replay_timeout")}
    memory = given["replay_memory"]
    options = ReplayOptions(
        memory=None if memory is None else int(memory * GIGABYTE),
        **{
            key: given[key]
            for key in ("batch", "trust", "scan", "trials", "python", "reproducer", "with_data")
        },
    )
    return own, options
