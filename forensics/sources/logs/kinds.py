"""What a file may be by its name, and what decides by its first bytes.

Readers are imported when a file asks for them: most directories hold none of most kinds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from forensics.domain.run import InputFile, InputState, ReadWarning
from forensics.sources.logs.curve import LogFile
from forensics.sources.storage.blob import Blob

Reading = Callable[[Blob], LogFile]
Sniff = Callable[[Blob, bytes], Reading | None]
"""From a file and its first bytes to what reads it, None where it is no log."""

_TEXT = re.compile(
    r"(?:.*\.(?:out|err|log|stdout|stderr|[oe]\d{1,12}|log\.\d{1,6})"
    r"|nohup.*|(?:std)?(?:out|err|output|log)|console.*|.*\.(?:txt|text))",
    re.IGNORECASE,
)
_DOCUMENT = re.compile(
    r"(?:readme|licen[cs]e|copying|notice|change(?:log|s)|contributing|authors|install|todo"
    r"|requirements)(?![a-z])[^/]*",
    re.IGNORECASE,
)
"""Texts about a program: what they quote of a training is not of this one."""
_MLFLOW_RUN = "meta.yaml"
_OF_WANDB = ("config.yaml", "wandb-summary.json")
_DATABASES = ("mlflow.db", "mlruns.db")
_SQLITE = b"SQLite format 3\0"


def kinds_by_name(names: Sequence[str]) -> dict[str, Sniff]:
    """Return the files that may be logs by their names, and what decides about each.

    Parameters
    ----------
    names : sequence of str
        All files, relative to the log directory, POSIX form.
    """
    found = dict(_of_mlflow(names)) if any(n.endswith(_MLFLOW_RUN) for n in names) else {}
    there = frozenset(names)
    for name in names:
        if name not in found and (sniff := _kind(name, there)) is not None:
            found[name] = sniff
    return found


def kind_by_content(blob: Blob, head: bytes) -> Reading | None:
    """Decide by the first bytes alone."""
    from forensics.sources.logs.level_log import HEADER

    if head.startswith(HEADER):
        return _wandb(blob, head)
    return _json(blob, head) or _text(blob, head)


def _of_mlflow(names: Sequence[str]) -> Iterator[tuple[str, Sniff]]:
    """Yield the files of MLflow's store."""
    from forensics.sources.logs.mlflow_store import (
        mlflow_runs,
        read_metric,
        read_parameter,
        wanted_parameters,
    )

    for run in mlflow_runs(names):
        for name in run.metrics:
            yield name, _always(partial(read_metric, run=run))
        for name in wanted_parameters(run):
            yield name, _always(read_parameter)


def _always(reading: Reading) -> Sniff:
    return lambda blob, head: reading


def _kind(name: str, there: frozenset[str]) -> Sniff | None:
    # no path is made of each name: there may be hundreds of thousands
    folder, _, own = name.rpartition("/")
    stem, _, end = own.rpartition(".")
    suffix = f".{end}".lower() if stem else ""
    if own in _OF_WANDB:
        return _beside_wandb(name, there)
    if own in _DATABASES:
        return _database
    if suffix == ".ipynb" and ".ipynb_checkpoints" in folder.split("/"):
        return None  # Jupyter keeps a copy of each notebook there
    known = _SNIFFS.get(suffix)
    if known is not None or not _TEXT.fullmatch(own):
        return known
    return None if suffix == ".txt" and _DOCUMENT.fullmatch(own) else _text


def _beside_wandb(name: str, there: frozenset[str]) -> Sniff | None:
    from forensics.sources.logs.wandb_files import CONFIG, is_wandb_file, read_config, read_summary

    if not is_wandb_file(name, there):
        return None
    return _always(read_config if name.endswith(CONFIG) else read_summary)


def _table(blob: Blob, head: bytes) -> Reading | None:
    from forensics.sources.logs.csv_file import may_be_table, read_csv

    return partial(read_csv, head=head) if may_be_table(blob.name, head) else None


def _json(blob: Blob, head: bytes) -> Reading | None:
    from forensics.sources.logs.json_file import may_be_json, may_be_lines, read_json

    if may_be_lines(head):
        return _json_lines(blob, head)
    return read_json if may_be_json(blob.name, head, blob.size) else None


def _json_lines(blob: Blob, head: bytes) -> Reading | None:
    from forensics.sources.logs.json_file import read_json_lines

    is_object = head.lstrip(b"\0 \r\n\t\xef\xbb\xbf")[:1] == b"{"
    return read_json_lines if is_object else None


def _notebook(blob: Blob, head: bytes) -> Reading | None:
    from forensics.sources.logs.notebook import read_notebook

    return read_notebook


def _wandb(blob: Blob, head: bytes) -> Reading | None:
    from forensics.sources.logs.wandb_run import read_wandb

    return read_wandb


def _text(blob: Blob, head: bytes) -> Reading | None:
    """Decide about a text, which may be a table (``CSVLogger("training.log")``)."""
    from forensics.sources.logs.text_file import may_be_text, read_text

    table = _table(blob, head)
    if table is not None:
        return table
    return partial(read_text, head=head) if may_be_text(blob.name, head) else None


def _database(blob: Blob, head: bytes) -> Reading | None:
    return _unread if head.startswith(_SQLITE) else None


def _unread(blob: Blob) -> LogFile:
    detail = (
        "MLflow's database is not read; export a run's metrics: "
        "mlflow.MlflowClient().get_metric_history(run_id, 'loss')"
    )
    record = InputFile(blob.name, "mlflow", blob.size, None, InputState.LIMIT)
    return LogFile([], record, [ReadWarning(blob.name, None, "not_read", detail)])


_SNIFFS: dict[str, Sniff] = {
    ".csv": _table,
    ".tsv": _table,
    ".json": _json,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".ipynb": _notebook,
    ".wandb": _wandb,
}
