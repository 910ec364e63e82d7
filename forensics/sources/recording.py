"""Rings of batches that a FlightRecorder kept. Found by name; nothing is loaded here.

A ring is a directory ``flight`` with a ``manifest.json`` and ``batch-<step>.npz`` files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from forensics.domain.run import RecordedBatch

FOLDER, MANIFEST = "flight", "manifest.json"
_BATCH = re.compile(r"batch-(\d{1,18})\.npz")


def recorded_batches(paths: Iterable[str]) -> tuple[RecordedBatch, ...]:
    """List the recorded batches among files, in order of step.

    Parameters
    ----------
    paths : iterable of str
        Relative to the log directory, POSIX form.
    """
    found = [
        RecordedBatch(path, int(match[1]))
        for path in paths
        if PurePosixPath(path).parent.name == FOLDER
        and (match := _BATCH.fullmatch(PurePosixPath(path).name))
    ]
    return tuple(sorted(found, key=lambda batch: (batch.step, batch.path)))
