"""Finds the logs below a log directory and reads them.

A file is chosen by its name, then by its first bytes: what is no log costs one small read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import PurePosixPath

from forensics.domain.run import InputFile, InputState, ReadWarning
from forensics.errors import Damaged
from forensics.sources.logs import csv_file, json_file, notebook, text_file
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
    chosen = [name for name in names if _kind(name) is not None]
    search = _Search(place)
    for name in chosen[:MOST_SNIFFED]:
        search.look(name)
    if len(chosen) > MOST_SNIFFED:
        detail = f"{len(chosen) - MOST_SNIFFED} more files that may be logs were not looked at"
        search.warnings.append(ReadWarning(chosen[MOST_SNIFFED], None, "limit", detail))
    return Logs(_without_copies(search.files), search.warnings)


def _kind(name: str) -> str | None:
    """Return what a file may be by its name."""
    last = PurePosixPath(name).name
    suffix = PurePosixPath(last).suffix.lower()
    if suffix in csv_file.SUFFIXES:
        return "csv"
    if suffix in json_file.SUFFIXES:
        return "json"
    if suffix in json_file.LINE_SUFFIXES:
        return "lines"
    if suffix == notebook.SUFFIX:
        return "notebook" if not _is_autosave(name) else None
    return "text" if text_file.named_like_text(name) else None


def _is_autosave(name: str) -> bool:
    return ".ipynb_checkpoints" in PurePosixPath(name).parts


class _Search:
    """Looks at one file after the other."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._left = MOST_BYTES
        self.files: list[LogFile] = []
        self.warnings: list[ReadWarning] = []

    def look(self, name: str) -> None:
        """Read a file if it is a log."""
        try:
            head, size = _head(self._place, name)
            reading = _chosen(name, head, size) if head else None
            if reading is None:
                return
            if size > self._left:
                self._over(name, size)
                return
            with self._place.open(name) as blob:
                self._left -= blob.size
                file = reading(blob)
        except NotRegular:
            self._denied(name, "is no regular file (a FIFO, device or socket) and was not opened")
        except OSError as error:
            self._denied(name, f"cannot be read: {error.strerror or type(error).__name__}")
        except Damaged as error:
            self.warnings.append(ReadWarning(name, error.offset, error.kind, error.detail))
        else:
            if file.input is not None:
                self.files.append(file)

    def _denied(self, name: str, why: str) -> None:
        warning = ReadWarning(name, None, "denied", f"this file {why}")
        record = InputFile(name, "log", 0, None, InputState.DENIED)
        self.files.append(LogFile([], record, [warning]))

    def _over(self, name: str, size: int) -> None:
        detail = f"{MOST_BYTES} bytes of logs were read already, this one was not"
        record = InputFile(name, "log", size, None, InputState.LIMIT)
        self.files.append(LogFile([], record, [ReadWarning(name, None, "limit", detail)]))


def _chosen(name: str, head: bytes, size: int) -> Reading | None:
    """Return what reads a file with this name and these first bytes, None where it is no log."""
    kind = _kind(name)
    if kind == "csv" and csv_file.may_be_table(name, head):
        return partial(csv_file.read_csv, head=head)
    if kind == "json" and json_file.may_be_json(name, head, size):
        return json_file.read_json
    if kind == "lines" and head.lstrip(b"\0 \r\n\t")[:1] == b"{":
        return json_file.read_json_lines
    if kind == "notebook":
        return notebook.read_notebook
    if kind == "text" and text_file.may_be_text(name, head):
        return partial(text_file.read_text, head=head)
    return None


def _head(place: Place, name: str) -> tuple[bytes, int]:
    """Return first bytes and size of a file; a local one is not read as a whole for them."""
    if place.local is None:
        with place.open(name) as blob:
            return bytes(blob.read(0, min(HEAD, blob.size))), blob.size
    path = place.local / name
    if not stat.S_ISREG(path.stat().st_mode):
        raise NotRegular(name)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegular(name)
        return os.pread(descriptor, HEAD, 0), status.st_size
    finally:
        os.close(descriptor)


def _without_copies(files: Sequence[LogFile]) -> list[LogFile]:
    """Leave out what another file of the same name holds too, and more of it.

    The Hugging Face trainer saves the same growing history with every checkpoint.
    """
    by_name: dict[str, list[LogWriter]] = {}
    for file in files:
        for writer in file.writers:
            last = PurePosixPath(writer.name).name
            by_name.setdefault(last, []).append(writer)
    for file in files:
        file.writers = [
            writer
            for writer in file.writers
            if not any(
                _is_copy(writer, other)
                for other in by_name[PurePosixPath(writer.name).name]
                if other is not writer
            )
        ]
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
