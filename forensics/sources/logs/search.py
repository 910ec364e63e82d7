"""Finds the logs below a log directory and reads them.

A file is chosen by its name, then by its first bytes: what is no log costs one small read.
"""

from __future__ import annotations

from collections.abc import Iterable

from forensics.domain.run import InputFile, InputState, ReadWarning
from forensics.errors import Damaged
from forensics.sources.logs.copies import without_copies
from forensics.sources.logs.curve import LogFile, Logs
from forensics.sources.logs.kinds import Sniff, kind_by_content, kinds_by_name
from forensics.sources.logs.pieces import BEGINNING, END
from forensics.sources.storage.blob import Blob, NotRegular
from forensics.sources.storage.place import Place

HEAD = 16 << 10
"""First bytes that are looked at."""
MOST_SNIFFED = 4_000
"""Files whose first bytes are looked at."""
MOST_BYTES = 512 << 20
"""Bytes of all logs together: enough for every log of a run, and half a minute of parsing."""


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
    search = _Search(place)
    kinds = kinds_by_name(list(names))
    chosen = list(kinds)
    place.expect(chosen[:MOST_SNIFFED], HEAD)
    for name in chosen[:MOST_SNIFFED]:
        search.look(name, kinds[name])
    if len(chosen) > MOST_SNIFFED:
        detail = f"{len(chosen) - MOST_SNIFFED} more files that may be logs were not looked at"
        search.warnings.append(ReadWarning(chosen[MOST_SNIFFED], None, "limit", detail))
    return Logs(without_copies(search.files), search.warnings)


def read_log(place: Place, name: str) -> Logs:
    """Read one file that somebody says is a log, whatever its name; nothing if it is denied."""
    search = _Search(place)
    search.look(name, kinds_by_name([name]).get(name, kind_by_content))
    read = [f for f in search.files if f.input and f.input.state is not InputState.DENIED]
    return Logs(read, search.warnings)


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
        wanted = min(blob.size, BEGINNING + END)
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
