"""Whether a table beside event files tells of the same training: a data set may have a loss too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from forensics.domain.quantity import Fidelity, Quantity
from forensics.domain.run import ReadWarning, Series

_SHARED = 5
"""Steps that both must have before anything is concluded."""
_SAME = 0.01
"""Relative difference of equal values: tables round, and means over an interval drift."""
_LEAST = 0.1
"""Share of the common steps at which the values of one training agree at the least."""
_LAGS = (-1, 0, 1)
"""Steps by which two logs of one training count apart."""


def without_strangers(series: Sequence[Series]) -> tuple[tuple[Series, ...], list[ReadWarning]]:
    """Take the meaning from training losses in tables that contradict the event files.

    Parameters
    ----------
    series : sequence of Series
        Of a whole run, on their axes.

    Returns
    -------
    tuple of Series
        The same; a loss that agrees with no loss of the event files at the steps of both is
        ``other``.
    list of ReadWarning
        What was not used, and why.
    """
    losses = [s for s in series if s.quantity is Quantity.TRAIN_LOSS]
    logged = [s for s in losses if s.fidelity is Fidelity.EVENT]
    strange = {id(s) for s in losses if s.fidelity is Fidelity.RECORD and _is_strange(s, logged)}
    warnings = [
        ReadWarning(
            s.writer.partition("#")[0],
            None,
            "not_used",
            f"{s.tag!r} differs from every training loss of the event files at the steps of both: "
            "it is taken for another quantity",
        )
        for s in series
        if id(s) in strange
    ]
    kept = tuple(replace(s, quantity=Quantity.OTHER) if id(s) in strange else s for s in series)
    return kept, warnings


def _is_strange(table: Series, logged: Sequence[Series]) -> bool:
    """Whether there are losses to compare it with, and it is like none of them."""
    shares = [share for other in logged for share in _shares(table, other)]
    return bool(shares) and max(shares) < _LEAST


def _shares(table: Series, other: Series) -> Iterator[float]:
    """Share of the common steps at which two losses agree, by how far they count apart."""
    if table.step_axis is not other.step_axis:
        return
    for lag in _LAGS:
        _, mine, theirs = np.intersect1d(table.steps + lag, other.steps, return_indices=True)
        a, b = table.values[mine], other.values[theirs]
        finite = np.isfinite(a) & np.isfinite(b)
        if np.count_nonzero(finite) < _SHARED:
            continue
        a, b = a[finite], b[finite]
        yield float(np.mean(np.abs(a - b) <= _SAME * np.maximum(np.abs(a), np.abs(b))))
