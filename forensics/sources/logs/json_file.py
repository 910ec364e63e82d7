"""Histories and metrics in JSON: trainer_state.json, dumped histories, one object per line.

Only what json's grammar gives is built, and ``NaN`` and ``Infinity`` are read, which Python's
writers leave there. Of a list of objects that ends too early, the objects before are kept.
The Hugging Face trainer's steps [1]_ count the batches (with accumulation: updates) done so far;
its ``loss`` is the mean since the last entry.

References
----------
.. [1] transformers 4 and 5, ``trainer_callback.py: TrainerState`` and ``trainer.py: _maybe_log``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from math import nan
from pathlib import PurePosixPath
from typing import Any

from forensics.domain.quantity import Fidelity, Quantity
from forensics.domain.run import InputState
from forensics.sources.logs.axes import Axes
from forensics.sources.logs.copies import TRAINER_STATE
from forensics.sources.logs.curve import Curve, LogFile, LogWriter
from forensics.sources.logs.numbers import plain, step_of
from forensics.sources.logs.pieces import Reader
from forensics.sources.logs.row_axes import RowAxes
from forensics.sources.logs.tabular import Table
from forensics.sources.logs.text_lines import encoding_of
from forensics.sources.storage.blob import Blob
from forensics.sources.tags import Counting, meaning

KIND = "json_log"
LARGEST = 64 << 20
"""Bytes of a JSON document that is parsed at once."""
_AT_ONCE = 8 << 20
"""Characters above which entries are built one after the other: all take ten times that."""
MOST_LINE = 1 << 20
_TELLING = re.compile(rb"loss|log_history", re.IGNORECASE)
_BY_HAND = re.compile(r"(?<=[:,\[\s])(nan|-?inf)(?=[,\]}\s])")
_ITEMS = re.compile(r'"(?:log_history|history|logs|metrics)"\s{0,8}:\s{0,8}\[')
_DOWNLOAD = "-tag-"
"""In the name of TensorBoard's downloads, before the tag."""
_SUMMARY = frozenset({"train_runtime", "total_flos"})
"""Keys of the trainer's last entry, whose ``train_loss`` is the mean over the whole training."""


def may_be_json(name: str, head: bytes, size: int) -> bool:
    """Whether the first bytes look like a log.

    A `trainer_state.json` is one by its name. Others are where a loss is named in the beginning.
    """
    if PurePosixPath(name).name == TRAINER_STATE:
        return True
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n\0")
    if _DOWNLOAD in name and text[:1] == b"[":
        return size <= LARGEST
    return text[:1] in (b"{", b"[") and _TELLING.search(head) is not None and size <= LARGEST


def may_be_lines(head: bytes) -> bool:
    """Whether the first line is an object of its own that says where it belongs."""
    first, ended, _ = head.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")
    entry = _object(first) if ended and first[:1] == b"{" else None
    return entry is not None and Axes.among(map(str, entry)).known


def read_json(blob: Blob) -> LogFile:
    """Read a history or a list of entries."""
    if blob.size > LARGEST:
        reader = Reader(blob, state=InputState.LIMIT)
        reader.note(None, "limit", f"JSON of more than {LARGEST} bytes is not read")
        return LogFile([], blob.record(KIND, InputState.LIMIT), reader.warnings)
    data = bytes(blob.read(0, blob.size))
    reader = Reader(blob)
    text = data.decode(encoding_of(data[:64]), "replace").removeprefix("\ufeff")
    curves = _document(text, reader)
    if not curves and _DOWNLOAD in blob.name:
        curves = _download(text, PurePosixPath(blob.name).stem.rpartition(_DOWNLOAD)[2])
    if not curves and not reader.warnings:
        return LogFile()
    if not curves and PurePosixPath(blob.name).name != TRAINER_STATE:
        return LogFile()  # some other program's
    writer = LogWriter(blob.name, str(PurePosixPath(blob.name).parent), curves)
    return LogFile([writer], blob.record(KIND, reader.state), reader.warnings)


def _document(text: str, reader: Reader) -> list[Curve]:
    if len(text) > _AT_ONCE:
        items = _Items(text)
        curves = _entries(items)
        if items.sound and curves:
            return curves
    try:
        return _curves(_parsed(text))
    except (ValueError, RecursionError) as error:
        at = byte_offset(text, error, reader.blob.size)
        kept = _salvage(text)
        detail = f"the JSON is damaged or cut; {len(kept)} entries before are kept"
        reader.note(at, "bad_json", detail)
        return _entries(kept)


def _parsed(text: str) -> Any:
    """Parse JSON; ``nan`` and ``inf``, as programs print them that format by hand, are read too."""
    try:
        return json.loads(text)
    except ValueError:
        spelled = _BY_HAND.sub(lambda m: "NaN" if m[1] == "nan" else f"{m[1][:-3]}Infinity", text)
        if spelled == text:
            raise
    return json.loads(spelled)


def byte_offset(text: str, error: Exception, size: int) -> int | None:
    """Return where in a file of UTF-8 json's parser stopped, None where that is not known."""
    at = getattr(error, "pos", None)
    if at is None or len(text.encode()) != size:
        return None
    return min(len(text[:at].encode()), size)


def _salvage(text: str) -> list[Any]:
    """Objects of a list of entries up to the damage."""
    return list(_Items(text))


class _Items:
    """Objects of a list of entries, one after the other, up to its end or to damage.

    Attributes
    ----------
    sound : bool
        Whether the list, and the document around it, are whole.
    """

    def __init__(self, text: str) -> None:
        self._text, self.sound = text, False

    def __iter__(self) -> Iterator[Any]:
        """Yield the objects."""
        text = self._text
        match = _ITEMS.search(text)
        if match is not None:
            at = match.end()
        elif text.lstrip().startswith("["):
            at = text.index("[") + 1
        else:
            return
        begin, decoder = at, json.JSONDecoder()
        while True:
            while at < len(text) and text[at] in " \t\r\n,":
                at += 1
            if at >= len(text) or text[at] != "{":
                self.sound = text[at : at + 1] == "]" and _is_json(text[:begin] + text[at:])
                return
            try:
                entry, at = decoder.raw_decode(text, at)
            except (ValueError, RecursionError):
                return
            yield entry


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _curves(document: Any) -> list[Curve]:
    if isinstance(document, list):
        return _entries(document)
    if not isinstance(document, dict):
        return []
    for key in ("log_history", "history", "logs", "metrics"):
        inner = document.get(key)
        if isinstance(inner, list) and inner and isinstance(inner[0], dict):
            return _entries(inner)
        if isinstance(inner, dict) and _is_history(inner):
            return _history(inner)
    return _history(document) if _is_history(document) else []


def _is_history(document: Mapping[str, Any]) -> bool:
    """Whether it is ``History.history``: a list of numbers, or pandas' numbered ones, per name."""
    return any(
        isinstance(values, list | dict) and meaning(name).quantity is not Quantity.OTHER
        for name, values in document.items()
    )


def _download(text: str, tag: str) -> list[Curve]:
    """Return the curve of TensorBoard's download: rows of wall time, step and value."""
    curve = Curve(tag)
    try:
        rows = _parsed(text)
    except (ValueError, RecursionError):
        return []
    for row in rows if isinstance(rows, list) else []:
        found = [plain(cell) for cell in row] if isinstance(row, list) and len(row) == 3 else []
        if len(found) == 3 and found[2] is not None and (step := step_of(found[1])) is not None:
            curve.add(step, found[2], nan if found[0] is None else found[0])
    return [curve] if curve.steps else []


def _history(document: Mapping[str, Any]) -> list[Curve]:
    """Curves on the axis of epochs, which the numbers of the list are."""
    curves = []
    for name, values in document.items():
        curve = Curve(name, Counting.EPOCHS, Fidelity.RECORD)
        pairs: Iterable[tuple[Any, Any]]
        if isinstance(values, list):
            pairs = enumerate(values)
        elif isinstance(values, dict):
            pairs = ((int(k), v) for k, v in values.items() if k.isdecimal() and len(k) < 16)
        else:
            continue
        for epoch, value in pairs:
            number = plain(value)
            if number is not None:
                curve.add(epoch, number)
        if curve.steps:
            curves.append(curve)
    return curves


def _entries(entries: Iterable[Any]) -> list[Curve]:
    """Curves of objects that say each where they belong."""
    table = EntryTable()
    for entry in entries:
        table.take(entry)
    return table.curves()


class EntryTable:
    """Collects objects of named numbers.

    Those of the Hugging Face trainer are told by a fraction of an epoch beside the step.
    """

    def __init__(self) -> None:
        self._table = Table()
        self._rows = RowAxes()
        self._partial = False

    def take(self, entry: Any) -> bool:
        """Add an object; say whether it holds a measured number and where it belongs."""
        if not isinstance(entry, dict) or len(entry) > 5_000:
            return False
        row = {str(k): v for k, raw in entry.items() if (v := plain(raw)) is not None}
        if "_step" in row:
            self._of_wandb(row)
            return any(meaning(name).quantity is not Quantity.OTHER for name in row)
        axes = Axes.among(row)
        if not axes.known:
            return False
        values, step, epoch, time = axes.split(row)
        if _SUMMARY & entry.keys():
            values = [(k, v) for k, v in values if k != "train_loss"]
        if axes.time == "timestamp" and time > 1e11:
            time /= 1000  # milliseconds
        self._partial = self._partial or (epoch is not None and epoch != int_or_none(epoch))
        self._table.add(values, step, epoch, time)
        return any(meaning(name).quantity is not Quantity.OTHER for name, _ in values)

    def curves(self, *, lossy: bool = False) -> list[Curve]:
        """Return every name as a curve; `lossy` where objects are missing."""
        if self._partial:
            self._table.counting = Counting.ITERATIONS
        return [*self._table.curves(lossy=lossy), *self._rows.curves(lossy=lossy)]

    def _of_wandb(self, row: dict[str, float]) -> None:
        call, time = step_of(row.pop("_step")), row.pop("_timestamp", nan)
        row.pop("_runtime", None)
        self._rows.take(row, call, time)


def int_or_none(value: float) -> int | None:
    """Return a whole number, None for what is not one."""
    return int(value) if value == value and abs(value) < 1e18 and value == int(value) else None


def read_json_lines(blob: Blob) -> LogFile:
    """Read objects that stand one on a line."""
    reader = Reader(blob)
    table = EntryTable()
    telling, bad, rest, offset = False, 0, b"", 0
    first_bad: int | None = None
    skip = False
    for piece in reader:
        if piece is None:
            rest, skip = b"", True
            continue
        lines = (rest + bytes(piece)).split(b"\n")
        rest = lines.pop()[:MOST_LINE]
        for line in lines:
            if skip:
                skip = False
            elif line.strip(b" \t\r\0"):
                entry = _object(line)
                if entry is None:
                    bad += 1
                    first_bad = offset if first_bad is None else first_bad
                elif table.take(entry):
                    telling = True
            offset += len(line) + 1
    if rest.strip(b" \t\r\0"):
        entry = _object(rest)
        if entry is not None:
            telling = table.take(entry) or telling
        elif reader.state is InputState.COMPLETE:
            reader.state = InputState.INCOMPLETE_TAIL
    if not telling:
        return LogFile()
    if bad:
        reader.note(first_bad, "bad_json", f"{bad} line(s) are no JSON objects and were left out")
    writer = LogWriter(
        blob.name, str(PurePosixPath(blob.name).parent), table.curves(lossy=bad > 0), bad > 0
    )
    return LogFile([writer], blob.record(KIND, reader.state), reader.warnings)


def _object(line: bytes) -> Any | None:
    if len(line) > MOST_LINE:
        return None
    try:
        found = _parsed(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
