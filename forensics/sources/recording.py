"""What a FlightRecorder left, found by name; nothing is loaded here.

A recording is a directory ``flight`` with a ``manifest.json``, ``batch-<step>.npz`` files and
``state-<step>.npz`` files. A state holds what the run was before that step; it is read as a
checkpoint of the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from forensics.domain.run import RecordedBatch
from forensics.sources.storage.place import Place

FOLDER, MANIFEST = "flight", "manifest.json"
_BATCH = re.compile(r"batch-(\d{1,18})\.npz")
STATE = re.compile(r"state-\d{1,18}\.npz")


def recorded_batches(paths: Iterable[str]) -> tuple[RecordedBatch, ...]:
    """List the recorded batches among files, in order of step.

    Parameters
    ----------
    paths : iterable of str
        Relative to the log directory, POSIX form.
    """
    return _batches(path for path in paths if PurePosixPath(path).parent.name == FOLDER)


def batches_in(folder: Place) -> tuple[RecordedBatch, ...]:
    """List the batches of a recording that lies anywhere; paths are relative to its folder."""
    return _batches(name for name in folder.survey().files if "/" not in name)


def _batches(paths: Iterable[str]) -> tuple[RecordedBatch, ...]:
    found = [
        RecordedBatch(path, int(match[1]))
        for path in paths
        if (match := _BATCH.fullmatch(PurePosixPath(path).name))
    ]
    return tuple(sorted(found, key=lambda batch: (batch.step, batch.path)))


def is_state(path: str) -> bool:
    """Whether a file is a state of a recording.

    Parameters
    ----------
    path : str
        Relative to the log directory, POSIX form.
    """
    posix = PurePosixPath(path)
    return posix.parent.name == FOLDER and bool(STATE.fullmatch(posix.name))
