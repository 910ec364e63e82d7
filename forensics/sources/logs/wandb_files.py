"""What Weights & Biases leaves beside the log of a run: the configuration, and the last values.

``config.yaml`` holds ``name:`` and below it ``value: scalar``; only that much of YAML is read, and
only names of settings that the report knows. Anything else in it is no error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from forensics.domain.run import InputState
from forensics.sources.events.hparam_sessions import setting
from forensics.sources.logs.curve import LogFile, LogWriter
from forensics.sources.logs.numbers import plain, step_of
from forensics.sources.logs.row_axes import RowAxes
from forensics.sources.storage.blob import Blob

KIND = "wandb"
CONFIG, SUMMARY = "config.yaml", "wandb-summary.json"
LARGEST = 1 << 20
_NAME = re.compile(r"([A-Za-z_][\w.\-/]{0,100}):\s{0,8}")
_VALUE = re.compile(r"\s{1,8}value:\s{1,4}(\S[^#\n]{0,200})")


def is_wandb_file(name: str, names: frozenset[str]) -> bool:
    """Whether a file is W&B's, by its neighbours; values that the log of the run has are not read.

    Parameters
    ----------
    name : str
        Relative to the log directory.
    names : frozenset of str
        All files.
    """
    path = PurePosixPath(name)
    beside = {str(path.parent / other) for other in ("wandb-metadata.json", SUMMARY)}
    if path.name == CONFIG:
        return bool(beside & names)
    return path.name == SUMMARY and not _has_log(path.parent.parent, names)


def _has_log(run: PurePosixPath, names: frozenset[str]) -> bool:
    """Whether a run (``run-<date>-<id>``, or the log directory itself) has ``run-<id>.wandb``."""
    if run == PurePosixPath():
        return any("/" not in name and name.endswith(".wandb") for name in names)
    return str(run / f"run-{run.name.rpartition('-')[2]}.wandb") in names


def read_config(blob: Blob) -> LogFile:
    """Read the settings in a ``config.yaml``."""
    text = blob.head(LARGEST).decode("utf-8", "replace")
    config = dict(_settings(text.splitlines()))
    return LogFile([], blob.record(KIND, InputState.COMPLETE), config=config)


def _settings(lines: Iterable[str]) -> Iterable[tuple[str, Any]]:
    name = ""
    for line in lines:
        header = _NAME.fullmatch(line)
        if header is not None:
            name = header[1]
        elif name and (value := _VALUE.fullmatch(line.rstrip())):
            known = setting(name, value[1].strip().strip("'\""))
            if known is not None:
                yield known
            name = ""


def read_summary(blob: Blob) -> LogFile:
    """Read the last values of a run whose history is not here."""
    try:
        found = json.loads(blob.head(LARGEST))
    except (ValueError, RecursionError):
        return LogFile()
    if not isinstance(found, dict):
        return LogFile()
    row = {str(k): v for k, raw in found.items() if (v := plain(raw)) is not None}
    rows = RowAxes()
    call, time = step_of(row.pop("_step", None)), row.pop("_timestamp", float("nan"))
    row.pop("_runtime", None)
    rows.take(row, call, time)
    writer = LogWriter(blob.name, "", rows.curves())
    return LogFile([writer], blob.record(KIND, InputState.COMPLETE))
