"""Run a program of this folder's `programs/` through the replay."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from forensics.domain.replay import ReplayResult
from forensics.domain.run import (
    CheckpointFormat,
    CheckpointStats,
    CheckpointStatus,
    Run,
    StepSource,
)
from forensics.replay.request import ReplayRequest
from forensics.replay.runner import run_replay

PROGRAMS = Path(__file__).parent / "programs"


def replay(
    program: str,
    function: str = "replay_case",
    checkpoint: Path | None = None,
    **fields: Any,
) -> ReplayResult:
    """Replay a program; with a `failing_step` the run counts as gone non-finite there."""
    fields.setdefault("symptom", "non_finite" if "failing_step" in fields else "none")
    # remedies take longer than all the rest: tests of them ask for them
    fields.setdefault("trial_seconds", 0.0)
    checkpoints = () if checkpoint is None else (clean(checkpoint),)
    root = "/nowhere" if checkpoint is None else str(checkpoint.parent)
    request = ReplayRequest(
        Run(program, root, (), checkpoints),
        f"{PROGRAMS / program}.py:{function}",
        device=fields.pop("device", "cpu"),
        timeout=fields.pop("timeout", 240.0),
        **fields,
    )
    return run_replay(request, lambda line: None)


def train(program: str, folder: Path) -> Path:
    """Run a program, which leaves one checkpoint in `folder`; return the checkpoint's path."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    subprocess.run(
        [sys.executable, str(PROGRAMS / f"{program}.py"), str(folder)], env=environment, check=True
    )
    found = [p for p in folder.iterdir() if ".data-" not in p.name]
    assert len(found) == 1
    return found[0].with_suffix("") if found[0].suffix == ".index" else found[0]


def clean(path: Path) -> CheckpointStats:
    """Describe a clean checkpoint by its name."""
    kind = CheckpointFormat.TENSOR_BUNDLE
    if path.suffix == ".h5":
        kind = CheckpointFormat.WEIGHTS_H5
    elif path.suffix == ".keras":
        kind = CheckpointFormat.KERAS_ARCHIVE
    step = int(re.findall(r"\d+", path.name)[0])
    return CheckpointStats(path.name, kind, step, StepSource.FILE_NAME, (), CheckpointStatus.CLEAN)


def line_of(program: str, text: str) -> int:
    """Find the number of the first line of a program that holds a text."""
    lines = (PROGRAMS / f"{program}.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)
