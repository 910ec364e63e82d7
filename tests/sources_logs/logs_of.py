"""Reading what a test wrote, the way a run is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from forensics.domain.quantity import StepAxis
from forensics.domain.run import Run, Series
from forensics.sources.logdir import read

DATA = Path(__file__).parents[1] / "data" / "logs"


def run_of(folder: Path, files: dict[str, str | bytes]) -> Run:
    """Write files and read the directory."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(folder)


def series(run: Run, tag: str, writer: str | None = None, axis: StepAxis | None = None) -> Series:
    """Return the one series that fits."""
    (found,) = [
        s
        for s in run.series
        if s.tag == tag
        and (writer is None or s.writer == writer)
        and (axis is None or s.step_axis is axis)
    ]
    return found


def points(run: Run, tag: str, writer: str | None = None) -> list[tuple[int, float]]:
    """Return steps and values of the one series that fits."""
    found = series(run, tag, writer)
    return list(zip(found.steps.tolist(), found.values.tolist(), strict=True))


def first_bad(found: Series) -> int:
    """Return the step of the first value that is not finite."""
    return int(found.steps[~np.isfinite(found.values)][0])
