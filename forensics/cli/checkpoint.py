"""`forensics checkpoint A [B]`: what is in a checkpoint, what changed, which one went bad first."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from forensics.cli.main import debug_option
from forensics.cli.output import emit, write_whole
from forensics.cli.progress import reporting
from forensics.errors import UsageError

_EXIT_CODES = (
    "Exit codes: 0 every value is finite; 1 a weight, a slot or other state is NaN or Inf; 2 wrong "
    "usage; 3 something could not be read and nothing worse was found; 4 internal error."
)
_FORMATS = ("text", "json")
_NOT_EXAMINED = frozenset({"damaged", "denied", "limit"})


@debug_option
@click.command(
    "checkpoint",
    short_help="Show a checkpoint, what changed since another, or which went bad first.",
    epilog=_EXIT_CODES,
)
@click.argument("a", metavar="A")
@click.argument("b", required=False, metavar="[B]")
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    default="text",
    show_default=True,
    help="What is written to stdout.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Write the whole result there too, as JSON.",
)
def command(a: str, b: str | None, form: str, output: Path | None) -> int:
    """Examine checkpoints; neither TensorFlow nor a GPU is needed.

    A alone, one checkpoint: a table of its tensors. A and B: what changed from A to B, tensor by
    tensor (update ratio ||B-A|| / ||A||, what stayed the same to the last bit, what became NaN or
    Inf). A folder with a series: the first that is poisoned.

    Tensor bundles (TF1, TF2, Estimator), .keras, .weights.h5, .h5, SavedModels, Orbax and
    safetensors are read, on a disk or at a URL (s3://, gs://, hf://).
    """
    if output is not None and output.suffix.lower() != ".json":
        raise UsageError(f"-o {output}: the result is written as JSON, name a .json file")
    from forensics.pipeline.examine import examine_checkpoints

    with reporting() as progress:
        document = examine_checkpoints(a, b, progress=progress)
    text = json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False)
    if output is not None:
        write_whole(output, text + "\n")
    emit(text if form == "json" else _text(document), "utf-8" if form == "json" else None)
    return _exit_code(document)


def _text(document: dict[str, Any]) -> str:
    from forensics.report.checkpoint_text import render_checkpoint

    terminal = sys.stdout is not None and sys.stdout.isatty()
    color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return render_checkpoint(document, color=color)


def _exit_code(document: dict[str, Any]) -> int:
    from forensics.cli.exit_codes import FINDINGS, HEALTHY, NOT_EXAMINED
    from forensics.domain.run import CheckpointStatus
    from forensics.pipeline.examine import worst_status

    worst = worst_status(document)
    if worst is CheckpointStatus.POISONED:
        return FINDINGS
    unexamined = worst is CheckpointStatus.DAMAGED or any(
        i["state"] in _NOT_EXAMINED for i in document["inputs"]
    )
    return NOT_EXAMINED if unexamined else HEALTHY
