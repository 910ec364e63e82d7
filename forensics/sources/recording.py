"""What a FlightRecorder left, found by name; nothing is loaded here.

A recording is a directory ``flight`` with a ``manifest.json``, ``batch-<step>.npz`` files and
``state-<step>.npz`` files. A state holds what the run was before that step; it is read as a
checkpoint of the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from forensics.domain.run import RecordedBatch
from forensics.sources.storage.place import Place

FOLDER, MANIFEST = "flight", "manifest.json"
_SUFFIX = ".npz"
_BATCH = re.compile(r"batch-(\d{1,18})\.npz")
STATE = re.compile(r"state-\d{1,18}\.npz")


def recorded_batches(paths: Iterable[str]) -> tuple[RecordedBatch, ...]:
    """List the recorded batches among files, in order of step.

    Parameters
    ----------
    paths : iterable of str
        Relative to the log directory, POSIX form.
    """
    return _batches(path for path in paths if path.endswith(_SUFFIX) and _is_recorded(path))


def batches_in(folder: Place) -> tuple[RecordedBatch, ...]:
    """List the batches of a recording that lies anywhere; paths are relative to its folder."""
    return _batches(name for name in folder.survey().files if "/" not in name)


def _batches(paths: Iterable[str]) -> tuple[RecordedBatch, ...]:
    found = [
        RecordedBatch(path, int(match[1]))
        for path in paths
        if (match := _BATCH.fullmatch(path.rpartition("/")[2]))
    ]
    return tuple(sorted(found, key=lambda batch: (batch.step, batch.path)))


def is_state(path: str) -> bool:
    """Whether a file is a state of a recording.

    Parameters
    ----------
    path : str
        Relative to the log directory, POSIX form.
    """
    if not path.endswith(_SUFFIX):
        return False
    return _is_recorded(path) and bool(STATE.fullmatch(path.rpartition("/")[2]))


def _is_recorded(path: str) -> bool:
    folders = path.split("/")
    return len(folders) > 1 and folders[-2] == FOLDER
