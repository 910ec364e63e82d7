"""Finds the logs below a log directory and reads them.

A file is chosen by its name, then by its first bytes: what is no log costs one small read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import PurePosixPath

from forensics.domain.run import InputFile, InputState, ReadWarning
from forensics.errors import Damaged
from forensics.sources.logs import (
    csv_file,
    json_file,
    level_log,
    mlflow_store,
    notebook,
    pieces,
    text_file,
    wandb_files,
    wandb_run,
)
from forensics.sources.logs.curve import LogFile, Logs, LogWriter
from forensics.sources.storage.blob import Blob, NotRegular
from forensics.sources.storage.place import Place

HEAD = 16 << 10
"""First bytes that are looked at."""
MOST_SNIFFED = 4_000
"""Files whose first bytes are looked at."""
MOST_BYTES = 512 << 20
"""Bytes of all logs together: enough for every log of a run, and half a minute of parsing."""

Reading = Callable[[Blob], LogFile]
Sniff = Callable[[Blob, bytes], Reading | None]
"""From a file and its first bytes to what reads it, None where it is no log."""


def read_logs(place: Place, names: Iterable[str]) -> Logs:
    """Read every log among files.

    Parameters
    ----------
    place : Place
        Where they lie.
    names : iterable of str
        Relative to it, POSIX form; what is neither event file nor checkpoint.

    Returns
    -------
    Logs
        Never raises for what the files hold.
    """
    everything = list(names)
    search = _Search(place)
    mine = dict(_of_mlflow(everything))
    there = frozenset(everything)
    for name in everything:
        if name not in mine and (sniff := _kind(name, there)) is not None:
            mine[name] = sniff
    chosen = list(mine)
    place.expect(chosen[:MOST_SNIFFED], HEAD)
    for name in chosen[:MOST_SNIFFED]:
        search.look(name, mine[name])
    if len(chosen) > MOST_SNIFFED:
        detail = f"{len(chosen) - MOST_SNIFFED} more files that may be logs were not looked at"
        search.warnings.append(ReadWarning(chosen[MOST_SNIFFED], None, "limit", detail))
    return Logs(_without_copies(search.files), search.warnings)


def read_log(place: Place, name: str) -> Logs:
    """Read one file that somebody says is a log, whatever its name."""
    search = _Search(place)
    search.look(name, _kind(name, frozenset([name])) or _anything)
    return Logs(search.files, search.warnings)


def _of_mlflow(names: Sequence[str]) -> Iterator[tuple[str, Sniff]]:
    """Yield the files of MLflow's store."""
    for run in mlflow_store.mlflow_runs(names):
        for name in run.metrics:
            yield name, _always(partial(mlflow_store.read_metric, run=run))
        for name in mlflow_store.wanted_parameters(run):
            yield name, _always(mlflow_store.read_parameter)


def _always(reading: Reading) -> Sniff:
    return lambda blob, head: reading


def _kind(name: str, there: frozenset[str]) -> Sniff | None:
    """Return what decides by the first bytes, None for what is no log by its name."""
    # no path is made of each name: there may be hundreds of thousands
    folder, _, own = name.rpartition("/")
    stem, _, end = own.rpartition(".")
    suffix = f".{end}".lower() if stem else ""
    if own in (wandb_files.CONFIG, wandb_files.SUMMARY):
        reading = wandb_files.read_config
        if own == wandb_files.SUMMARY:
            reading = wandb_files.read_summary
        return _always(reading) if wandb_files.is_wandb_file(name, there) else None
    if own in mlflow_store.DATABASES:
        return _database
    if suffix == notebook.SUFFIX:
        # Jupyter keeps a copy of each notebook there.
        copied = ".ipynb_checkpoints" in folder.split("/")
        return None if copied else _always(notebook.read_notebook)
    if suffix in _SNIFFS:
        return _SNIFFS[suffix]
    return _text if text_file.named_like_text(name) else None


def _table(blob: Blob, head: bytes) -> Reading | None:
    if csv_file.may_be_table(blob.name, head):
        return partial(csv_file.read_csv, head=head)
    return None


def _json(blob: Blob, head: bytes) -> Reading | None:
    return json_file.read_json if json_file.may_be_json(blob.name, head, blob.size) else None


def _json_lines(blob: Blob, head: bytes) -> Reading | None:
    is_object = head.lstrip(b"\0 \r\n\t\xef\xbb\xbf")[:1] == b"{"
    return json_file.read_json_lines if is_object else None


def _text(blob: Blob, head: bytes) -> Reading | None:
    if text_file.may_be_text(blob.name, head):
        return partial(text_file.read_text, head=head)
    return None


def _anything(blob: Blob, head: bytes) -> Reading | None:
    if head.startswith(level_log.HEADER):
        return wandb_run.read_wandb
    if head.lstrip()[:1] == b"{" and b"}\n{" in head.replace(b"\r", b""):
        return json_file.read_json_lines
    return _table(blob, head) or _json(blob, head) or _text(blob, head)


def _database(blob: Blob, head: bytes) -> Reading | None:
    return _unread if head.startswith(mlflow_store.SQLITE) else None


def _unread(blob: Blob) -> LogFile:
    detail = (
        "MLflow's database is not read; export a run's metrics: "
        "mlflow.MlflowClient().get_metric_history(run_id, 'loss')"
    )
    record = InputFile(blob.name, mlflow_store.KIND, blob.size, None, InputState.LIMIT)
    return LogFile([], record, [ReadWarning(blob.name, None, "not_read", detail)])


_SNIFFS: dict[str, Sniff] = {
    **dict.fromkeys(csv_file.SUFFIXES, _table),
    **dict.fromkeys(json_file.SUFFIXES, _json),
    **dict.fromkeys(json_file.LINE_SUFFIXES, _json_lines),
    wandb_run.SUFFIX: _always(wandb_run.read_wandb),
}


class _Search:
    """Looks at one file after the other."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._left = MOST_BYTES
        self.files: list[LogFile] = []
        self.warnings: list[ReadWarning] = []

    def look(self, name: str, sniff: Sniff) -> None:
        """Read a file if it is a log."""
        try:
            with self._place.open(name) as blob:
                file = self._read(blob, sniff)
        except NotRegular:
            self._denied(name, "is no regular file (a FIFO, device or socket) and was not opened")
        except OSError as error:
            self._denied(name, f"cannot be read: {error.strerror or type(error).__name__}")
        except Damaged as error:
            self.warnings.append(ReadWarning(name, error.offset, error.kind, error.detail))
        else:
            if file.input is not None:
                self.files.append(file)

    def _read(self, blob: Blob, sniff: Sniff) -> LogFile:
        head = blob.head(HEAD)
        reading = sniff(blob, head) if head else None
        if reading is None:
            return LogFile()
        wanted = min(blob.size, pieces.BEGINNING + pieces.END)
        if wanted > self._left:
            return self._over(blob)
        self._left -= wanted
        return reading(blob)

    def _denied(self, name: str, why: str) -> None:
        warning = ReadWarning(name, None, "denied", f"this file {why}")
        record = InputFile(name, "log", 0, None, InputState.DENIED)
        self.files.append(LogFile([], record, [warning]))

    def _over(self, blob: Blob) -> LogFile:
        detail = f"{MOST_BYTES} bytes of logs were read already, this one was not"
        record = InputFile(blob.name, "log", blob.size, None, InputState.LIMIT)
        return LogFile([], record, [ReadWarning(blob.name, None, "limit", detail)])


def _without_copies(files: Sequence[LogFile]) -> list[LogFile]:
    """Leave out the beginnings of a history of which another file holds more.

    The Hugging Face trainer saves the same growing history with every checkpoint.
    """
    states = [
        writer
        for file in files
        for writer in file.writers
        if PurePosixPath(writer.name).name == json_file.TRAINER_STATE
    ]
    copies = {id(w) for w in states if any(_is_copy(w, o) for o in states if o is not w)}
    for file in files:
        file.writers = [writer for writer in file.writers if id(writer) not in copies]
    return list(files)


def _is_copy(writer: LogWriter, other: LogWriter) -> bool:
    """Whether each curve of a writer is the beginning of the other's, which has more, or as much.

    Of two that are equal, the one with the shorter and then smaller path stays.
    """
    curves = {curve.tag: curve for curve in other.curves}
    for curve in writer.curves:
        longer = curves.get(curve.tag)
        n = len(curve.steps)
        if longer is None or curve.axis_key != longer.axis_key:
            return False
        if longer.steps[:n] != curve.steps or not _same(longer.values[:n], curve.values):
            return False
    sizes = [sum(len(c.steps) for c in w.curves) for w in (writer, other)]
    return sizes[0] < sizes[1] or (
        sizes[0] == sizes[1] and (len(other.name), other.name) < (len(writer.name), writer.name)
    )


def _same(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a == b or (a != a and b != b) for a, b in zip(one, other, strict=True))
