"""Tables of text: CSVLogger, Lightning's metrics.csv, histories, exports of trackers.

``CSVLogger`` [1]_ writes an epoch (from 0) and sorted names, in append mode below what is there;
Lightning [2]_ leaves cells empty; TensorBoard's download has ``Wall time,Step,Value`` and the tag
in the file's name; W&B's has ``Step`` and ``run - metric``, with ``__MIN`` and ``__MAX`` beside.

References
----------
.. [1] Keras 3, ``keras/src/callbacks/csv_logger.py``.
.. [2] Lightning 2, ``fabric/loggers/csv_logs.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import nan
from pathlib import PurePosixPath

from forensics.domain.run import InputState, ReadWarning
from forensics.sources.logs.csv_header import (
    EXPORTED,
    TENSORBOARD,
    VALUE,
    Header,
    cells_of,
    find_header,
    header_of,
)
from forensics.sources.logs.curve import LogFile, LogWriter
from forensics.sources.logs.numbers import number, step_of
from forensics.sources.logs.pieces import Reader
from forensics.sources.logs.tabular import Table
from forensics.sources.logs.text_lines import MOST_CHARACTERS, Lines, encoding_of
from forensics.sources.storage.blob import Blob
from forensics.sources.tag_words import words
from forensics.sources.tags import Counting

KIND = "csv"
_OF_VALIDATION = frozenset({"val", "valid", "validation", "eval", "evaluation"})
_MOST_KEYS = 10_000
"""Combinations of tag, split and run of one table that are kept."""
_COMMA = re.compile(r"^(\s{0,40}[-+]?\d{0,20}),(\d{1,30}(?:[eE][-+]?\d{1,5})?\s{0,40})$")
_VERSION = re.compile(r"version_\d{1,9}")


def may_be_table(name: str, head: bytes) -> bool:
    """Whether the first line is the header of a log."""
    return find_header(name, _first_line(head)) is not None


def read_csv(blob: Blob, head: bytes) -> LogFile:
    """Read a table.

    Parameters
    ----------
    blob : Blob
        The file.
    head : bytes
        Its first bytes.
    """
    header = find_header(blob.name, _first_line(head))
    if header is None:
        return LogFile()
    encoding = encoding_of(head)
    reader = Reader(blob, encoding)
    rows = _Rows(blob.name, header)
    lines = Lines(encoding)
    for piece in reader:
        if piece is None:
            lines.rest()
            rows.skip_one = True
        else:
            rows.take(lines.feed(bytes(piece)))
    if rows.take_cut(lines.rest()) and reader.state is InputState.COMPLETE:
        reader.state = InputState.INCOMPLETE_TAIL
    warnings = rows.warnings()
    if any(w.kind != "limit" for w in warnings) and reader.state is InputState.COMPLETE:
        reader.state = InputState.DAMAGED
    return LogFile(
        rows.writers(),
        blob.record(KIND, reader.state),
        [*reader.warnings, *warnings],
        run=_version(blob.name),
    )


def _version(name: str) -> str | None:
    """Return the directory that Lightning's logger gave to one run, None for other tables."""
    folder = PurePosixPath(name).parent
    is_run = PurePosixPath(name).name == "metrics.csv" and _VERSION.fullmatch(folder.name)
    return str(folder) if is_run else None


def _first_line(head: bytes) -> str:
    text = head.decode(encoding_of(head), "replace").lstrip("\ufeff")
    return next((line for line in text[:MOST_CHARACTERS].splitlines() if line.strip()), "")


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where in a row of cells step, epoch and time stand, and what goes into which table."""

    step: int | None
    epoch: int | None
    time: int | None
    columns: list[tuple[Table, list[tuple[int, str]]]]


@dataclass(slots=True)
class _Rows:
    """Collects the rows of a table, which may have further headers in it."""

    name: str
    header: Header
    tables: dict[str, Table] = field(default_factory=dict)
    skip_one: bool = False
    overflow: bool = False
    line: int = 0
    _count: int = 0
    _bad: int = 0
    _first_bad: int = 0
    _plans: dict[tuple[str, ...], _Plan] = field(default_factory=dict)

    def take(self, lines: Iterable[str]) -> None:
        """Add lines."""
        for text in lines:
            self.line += 1
            if self.skip_one:
                self.skip_one = False
            elif text.strip("\ufeff \t"):
                self._row(cells_of(text.lstrip("\ufeff"), self.header.delimiter))

    def take_cut(self, text: str) -> bool:
        """Add a last line without end, but its last cell: a number that was cut is another."""
        cells = cells_of(text, self.header.delimiter)
        if not text.strip() or not cells:
            return False
        whole = cells[-1].strip().lower() in ("nan", "inf", "-inf")
        if len(cells) <= len(self.header.names):
            missing = [""] * (len(self.header.names) - len(cells))
            self._row([*(cells if whole else [*cells[:-1], ""]), *missing])
        return not whole

    def _row(self, cells: Sequence[str]) -> None:
        values = [number(cell) for cell in self._with_points(cells)]
        if all(value is None for value in values):
            self._further_header(cells)
        elif len(cells) != len(self.header.names):
            self._bad += 1
            self._first_bad = self._first_bad or self.line
        else:
            self._add(values, tuple(cells[at].strip() for at in self.header.labels))

    def _with_points(self, cells: Sequence[str]) -> Sequence[str]:
        """Spell numbers with a point; where commas do not part cells, they may stand in them."""
        if self.header.delimiter == ",":
            return cells
        return [_COMMA.sub(r"\1.\2", cell, count=1) for cell in cells]

    def _further_header(self, cells: Sequence[str]) -> None:
        """Go on with the names that stand here, if they are some."""
        header = header_of(self.name, cells, self.header.delimiter)
        if header is not None:
            self.header, self._count = header, 0
            self._plans.clear()

    def _add(self, cells: Sequence[float | None], labels: tuple[str, ...]) -> None:
        """Add a row by the plan of its header, and of its cells of text."""
        plan = self._plans.get(labels)
        if plan is None:
            if len(self._plans) >= _MOST_KEYS:
                self.overflow = True
                return
            plan = self._plans[labels] = self._planned(labels)
        step = None if plan.step is None else step_of(cells[plan.step])
        epoch = None if plan.epoch is None else cells[plan.epoch]
        time = None if plan.time is None else cells[plan.time]
        if self.header.rows_are_epochs:
            epoch, self._count = self._count, self._count + 1
        for table, columns in plan.columns:
            values = [(tag, v) for at, tag in columns if (v := cells[at]) is not None]
            table.add(values, step, epoch, nan if time is None else time)

    def _planned(self, labels: tuple[str, ...]) -> _Plan:
        names, axes = self.header.names, self.header.axes
        own = (axes.step, axes.epoch, axes.time)
        grouped: dict[str, list[tuple[int, str]]] = {}
        for at, name in enumerate(names):
            writer, tag = self._labelled(name, dict(zip(self.header.labels, labels, strict=True)))
            if tag and name not in own and at not in self.header.labels:
                grouped.setdefault(writer, []).append((at, tag))
        for writer in grouped:
            self.tables.setdefault(writer, self._table())
        step, epoch, time = (None if name is None else names.index(name) for name in own)
        found = [(self.tables[writer], columns) for writer, columns in grouped.items()]
        return _Plan(step, epoch, time, found)

    def _labelled(self, name: str, labels: dict[int, str]) -> tuple[str, str]:
        """Return writer and tag of a column in rows with these texts."""
        header = self.header
        writer, tag = self._exported(name)
        if tuple(n.lower() for n in header.names) == TENSORBOARD:
            tag = _tag_of(self.name)
        if header.tag is not None:
            tag = labels[header.tag] if name.lower() == VALUE else ""
        if header.split is not None and tag:
            tag = f"{labels[header.split]}/{tag}"
        if header.run is not None and labels[header.run]:
            writer = f"{self.name}[{labels[header.run]}]"
        return writer, tag

    def _table(self) -> Table:
        named = PurePosixPath(self.name).name == "metrics.csv"
        lightning = named and {"epoch", "step"} <= set(self.header.names)
        from_0 = 0 if lightning or self.header.rows_are_epochs else None
        counting = Counting.BATCHES_FROM_0 if lightning else Counting.UNSAID
        return Table(counting=counting, epochs_from=from_0)

    def _exported(self, name: str) -> tuple[str, str]:
        """Return writer and tag of a column; no tag where it is left out."""
        match = EXPORTED.fullmatch(name)
        if match is None:
            return self.name, name
        own = match[3] is not None or match[2] in ("_step", "_runtime", "_timestamp")
        return f"{self.name}[{match[1]}]", "" if own else match[2]

    def writers(self) -> list[LogWriter]:
        """Return what was collected."""
        lossy = self._bad > 0
        return [
            LogWriter(writer, _place(self.name), table.curves(lossy=lossy), lossy)
            for writer, table in self.tables.items()
        ]

    def warnings(self) -> list[ReadWarning]:
        """Say which rows were left out."""
        found = []
        if self._bad:
            detail = (
                f"{self._bad} row(s) have not as many cells as the header and were left out, the "
                f"first in line {self._first_bad}, empty ones not counted"
            )
            found.append(ReadWarning(self.name, None, "bad_row", detail))
        if self.overflow or any(table.overflow for table in self.tables.values()):
            detail = f"more than {_MOST_KEYS} tags: the rest was left"
            found.append(ReadWarning(self.name, None, "limit", detail))
        return found


def _place(name: str) -> str:
    """Return the directory, and the file's name where it says that all of it is validation."""
    path = PurePosixPath(name)
    return name if _OF_VALIDATION.intersection(words(path.stem)) else str(path.parent)


def _tag_of(name: str) -> str:
    """Return the tag in the name of TensorBoard's download, ``run-NAME-tag-TAG.csv``."""
    stem = PurePosixPath(name).stem
    return stem.rpartition("-tag-")[2] or stem
