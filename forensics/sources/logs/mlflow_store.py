"""MLflow's file store: a directory per run, a file per metric with ``timestamp value step`` lines.

Format: MLflow 1 to 3, ``store/tracking/file_store.py`` (``_log_run_metric``): milliseconds, the
number as Python prints it, the step; two fields in the oldest stores (no step), five with a data
set.
Stores that keep numbers in a database write the largest float for an infinity
(``store/tracking/sqlalchemy_store.py``), and exports of them go on doing so: it is translated back.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import PurePosixPath

from forensics.domain.run import InputState
from forensics.sources.events.hparam_sessions import setting
from forensics.sources.logs.curve import Curve, LogFile, LogWriter
from forensics.sources.logs.numbers import number, step_of
from forensics.sources.logs.pieces import Reader
from forensics.sources.logs.text_lines import Lines
from forensics.sources.storage.blob import Blob

KIND = "mlflow"
_META, _METRICS, _PARAMS = "meta.yaml", "metrics", "params"
_MOST_PARAMETER = 1000
"""Bytes of a parameter that may be a setting."""


@dataclass(slots=True)
class MlflowRun:
    """Files of one run.

    Attributes
    ----------
    folder : str
        Relative to the log directory, ``.`` for itself.
    metrics, params : list of str
        Files, relative to the log directory.
    """

    folder: str
    metrics: list[str] = field(default_factory=list)
    params: list[str] = field(default_factory=list)


def mlflow_runs(names: Sequence[str]) -> list[MlflowRun]:
    """Find the runs of a file store: directories with ``meta.yaml`` and ``metrics``."""
    folders = {str(PurePosixPath(n).parent) for n in names if n.rpartition("/")[2] == _META}
    runs: dict[str, MlflowRun] = {}
    for name in names if folders else ():
        for kind in (_METRICS, _PARAMS):
            folder = _holder(name, kind)
            if folder in folders and not _is_model(folder):
                run = runs.setdefault(folder, MlflowRun(folder))
                (run.metrics if kind == _METRICS else run.params).append(name)
    return [run for run in runs.values() if run.metrics]


def _holder(name: str, kind: str) -> str:
    """Return the directory whose `kind` holds a file (names of metrics may have slashes)."""
    before, found, _ = f"/{name}".partition(f"/{kind}/")
    return (before.lstrip("/") or ".") if found else ""


def _is_model(folder: str) -> bool:
    """Whether it is a logged model, which repeats metrics of its run."""
    parts = PurePosixPath(folder).parts
    return len(parts) > 1 and parts[-2] == "models"


def read_metric(blob: Blob, run: MlflowRun) -> LogFile:
    """Read the history of one metric."""
    name = blob.name
    prefix = _METRICS if run.folder == "." else f"{run.folder}/{_METRICS}"
    curve = Curve(name[len(prefix) + 1 :])
    reader, lines, bad, translated = Reader(blob), Lines("utf-8"), 0, 0
    for line in _all_lines(reader, lines):
        point = _point(line)
        if point is None:
            bad += 1
            continue
        time, value, step = point
        if abs(value) == sys.float_info.max:
            value, translated = inf if value > 0 else -inf, translated + 1
        curve.add(step, value, time)
    if lines.rest().strip() and reader.state is InputState.COMPLETE:
        reader.state = InputState.INCOMPLETE_TAIL
    if bad:
        reader.note(None, "bad_row", f"{bad} line(s) are not `timestamp value step`")
    if translated:
        detail = f"{translated} value(s) of ±1.797e308 are read as the infinities they stand for"
        reader.remark("translated", detail)
    writer = LogWriter(run.folder, "", [curve], lossy=bad > 0)
    return LogFile([writer], blob.record(KIND, reader.state), reader.warnings, run=run.folder)


def _all_lines(reader: Reader, lines: Lines) -> Iterator[str]:
    for piece in reader:
        if piece is None:
            lines.rest()
        else:
            yield from lines.feed(bytes(piece))


def _point(line: str) -> tuple[float, float, int] | None:
    """Return seconds since the epoch, value and step."""
    parts = line.split()
    if len(parts) not in (2, 3, 5):
        return None
    time, value = number(parts[0]), number(parts[1])
    step = step_of(number(parts[2])) if len(parts) > 2 else 0
    if time is None or value is None or step is None:
        return None
    return time / 1000, value, step


def wanted_parameters(run: MlflowRun) -> Iterable[str]:
    """Yield the files of parameters that are settings which the report names."""
    for name in run.params:
        if setting(PurePosixPath(name).name, "1") or setting(PurePosixPath(name).name, 1):
            yield name


def read_parameter(blob: Blob) -> LogFile:
    """Read one setting."""
    text = blob.head(_MOST_PARAMETER + 1).decode("utf-8", "replace").strip()
    if len(text) > _MOST_PARAMETER:
        return LogFile()
    known = setting(PurePosixPath(blob.name).name, text)
    if known is None:
        return LogFile()
    record = blob.record(KIND, InputState.COMPLETE)
    return LogFile([], record, config=dict([known]))
