"""A file of what programs printed: Slurm's ``.out``, ``nohup.out``, a captured standard output."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from forensics.sources.logs.curve import LogFile
from forensics.sources.logs.pieces import Reader
from forensics.sources.logs.text_lines import Lines, encoding_of
from forensics.sources.logs.text_log import TextLog
from forensics.sources.storage.blob import Blob

KIND = "progress_text"
_PERHAPS = re.compile(r".*\.(?:txt|text)", re.IGNORECASE)
_HOLE = re.compile(rb"\0{64,}")
_ODD = ("\x00", "\x01", "\x02", "\x03", "\x04", "\ufffd")
"""Characters that are rare in texts and frequent in other files."""
_TELLING = re.compile(r"epoch|loss|step", re.IGNORECASE)


def may_be_text(name: str, head: bytes) -> bool:
    """Whether the first bytes are text; of what is named ``.txt``, whether they speak of training.

    A Slurm log may begin with any number of other lines.
    """
    perhaps = _may_be_prose(name)
    encoding = encoding_of(head)
    if encoding == "utf-8":
        # Holes may stand anywhere, but zeros among the rest are of no text.
        head = _HOLE.sub(b"", head)
    text = head.decode(encoding, "replace")
    odd = sum(text.count(c) for c in _ODD)
    if odd * 10 > len(text) or (perhaps and not text):
        return False
    return not perhaps or bool(_TELLING.search(text))


def _may_be_prose(name: str) -> bool:
    return _PERHAPS.fullmatch(PurePosixPath(name).name) is not None


def read_text(blob: Blob, head: bytes) -> LogFile:
    """Read the curves that a text tells of.

    Parameters
    ----------
    blob : Blob
        The file.
    head : bytes
        Its first bytes.
    """
    encoding = encoding_of(head)
    reader, lines = Reader(blob, encoding), Lines(encoding)
    place = str(PurePosixPath(blob.name).parent)
    log = TextLog(blob.name, place, perhaps=_may_be_prose(blob.name))
    for piece in reader:
        if piece is None:
            lines.rest()
            log.gap()
        else:
            log.take(lines.feed(bytes(piece)))
    log.take(lines.finish())
    writers, warnings, config = log.finish()
    if not writers and not warnings:
        return LogFile()
    return LogFile(writers, blob.record(KIND, reader.state), [*reader.warnings, *warnings], config)
