"""The first line of a table of text: whether it is a log, and what its columns are."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from forensics.domain.quantity import Quantity
from forensics.sources.logs.axes import Axes
from forensics.sources.logs.numbers import number
from forensics.sources.tags import meaning

_DELIMITERS = ",;\t|"
_TAGS, VALUE = ("tag", "metric", "key"), "value"
_SPLITS = ("phase", "split", "mode", "subset", "stage")
_RUNS = ("writer", "run", "run_id", "dir_name")
EXPORTED = re.compile(r"(.{1,200}) - (.{1,300}?)(?:__(MIN|MAX))?")
"""A column of W&B's export: run and metric."""
TENSORBOARD = ("wall time", "step", "value")
"""TensorBoard's download: its tag is in the name of the file."""


@dataclass(frozen=True, slots=True)
class Header:
    """Names of a table's columns, and what places its rows.

    Attributes
    ----------
    rows_are_epochs : bool
        There is no column that places a row: it is an epoch, counted by the rows.
    tag, split, run : int or None
        Columns of text: which tag the row's ``value`` is of (long tables, as pandas likes them),
        whether it is of training or validation, and of which run.
    """

    names: tuple[str, ...]
    delimiter: str
    axes: Axes
    rows_are_epochs: bool = False
    tag: int | None = None
    split: int | None = None
    run: int | None = None

    @property
    def labels(self) -> list[int]:
        """Columns of text, as far as there are some."""
        return [at for at in (self.run, self.split, self.tag) if at is not None]


def cells_of(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line, none where its quotes are broken."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def find_header(name: str, line: str) -> Header | None:
    """Return the header that a line is, None where it is none.

    Parameters
    ----------
    name : str
        Of the file; one called history may do without a column of steps.
    line : str
        The first of the file.
    """
    for delimiter in _DELIMITERS:
        if delimiter in line:
            header = header_of(name, cells_of(line, delimiter), delimiter)
            if header is not None:
                return header
    return None


def header_of(name: str, cells: Sequence[str], delimiter: str) -> Header | None:
    """Return the header that these cells are, None where they are none."""
    names = tuple(cell.strip() for cell in cells)
    if len(names) < 2 or any(number(cell) is not None for cell in names):
        return None
    axes = Axes.among(names)
    lower = tuple(n.lower() for n in names)
    if lower == TENSORBOARD:
        return Header(names, delimiter, axes)
    tag, split, run = (_first_of(lower, known) for known in (_TAGS, _SPLITS, _RUNS))
    if VALUE not in lower:
        tag = None
    metrics = [n for n in names if n not in (axes.step, axes.epoch, axes.time)]
    if tag is None and not any(_is_measured(n) for n in metrics):
        return None
    if axes.known:
        return Header(names, delimiter, axes, False, tag, split, run)
    of_keras = any(n.startswith("val_") for n in names) and "loss" in names
    told = of_keras or "history" in PurePosixPath(name).name.lower()
    indexed = lower[0] in ("", "unnamed: 0", "index")
    if not told:
        return None
    return Header(names, delimiter, Axes(epoch=names[0]) if indexed else axes, not indexed)


def _first_of(names: Sequence[str], known: Sequence[str]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def _is_measured(name: str) -> bool:
    exported = EXPORTED.fullmatch(name)
    return meaning(exported[2] if exported else name).quantity is not Quantity.OTHER
