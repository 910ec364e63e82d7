"""Lines of a text that programs wrote to a terminal: redrawn, coloured, encoded anyhow.

A carriage return and a run of backspaces go back over what was drawn; each redrawing is a line
here. Escape sequences (ECMA-48, section 5.4) are taken out.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

MOST_CHARACTERS = 8192
"""Characters of a line that are looked at: a progress bar has some hundred."""
_BREAK = re.compile("[\r\n\x08\x00\x0b\x0c]+")
HOLE = "\x1a"
"""A line that stands for a stretch of zero bytes: lines are missing there."""
_HOLE = re.compile("\0{512,}")
_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)|[@-_])"
)
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def encoding_of(head: bytes) -> str:
    """Tell the encoding from the first bytes: UTF-8 or, as PowerShell redirects, UTF-16.

    Without a byte order mark, text whose every second byte is zero is UTF-16.
    """
    for mark, name in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return name
    pairs = len(head) // 2
    if pairs >= 8:
        low, high = head[0 : 2 * pairs : 2].count(0), head[1 : 2 * pairs : 2].count(0)
        if high * 10 >= pairs * 7 and low * 10 < pairs:
            return "utf-16-le"
        if low * 10 >= pairs * 7 and high * 10 < pairs:
            return "utf-16-be"
    return "utf-8"


class Lines:
    """Turns pieces of bytes into lines.

    Parameters
    ----------
    encoding : str
        As `encoding_of` tells; what does not decode is replaced.
    """

    def __init__(self, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._rest = ""

    def feed(self, piece: bytes) -> Iterator[str]:
        """Yield the lines that are ended within or before this piece, without empty ones."""
        text = self._rest + self._decoder.decode(piece)
        if "\0" in text:
            text = _HOLE.sub(f"\n{HOLE}\n", text)
        parts = _BREAK.split(text)
        self._rest = parts.pop()[:MOST_CHARACTERS]
        for part in parts:
            if part:
                yield _plain(part)

    def rest(self) -> str:
        """Return what stands after the last end of a line, and forget it."""
        text = (self._rest + self._decoder.decode(b"", True))[:MOST_CHARACTERS]
        self._rest = ""
        self._decoder.reset()
        return _plain(text)

    def finish(self) -> Iterator[str]:
        """Yield what stands after the last end of a line.

        Its last word is left out, because a number that was cut is another number; ``nan`` and
        ``inf`` are no beginning of anything else.
        """
        text = self.rest()
        stem, _, last = text.rpartition(" ")
        if last.strip("-+").lower() in ("nan", "inf"):
            stem = text
        if stem.strip():
            yield stem


def lines_of(text: str) -> Iterator[str]:
    """Yield the lines of a text that is whole."""
    for part in _BREAK.split(text):
        if part:
            yield _plain(part)


def _plain(line: str) -> str:
    line = line[:MOST_CHARACTERS]
    return _ESCAPE.sub("", line) if "\x1b" in line else line
