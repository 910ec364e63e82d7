"""Rows left out: those that are non-finite, far off, or found to make a step fail."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Set

import numpy as np

from .. import arrays
from ..guilty_rows.subsets import BatchRows, Filler
from ..stepping.state import Snapshot
from ..stepping.stepper import EndOfData, Stepper
from .change import Change, Unfit
from .course import MAX_OF_BATCH, Runner

FAR = 100.0
"""Times the usual magnitude of a row: one that is further out is an outlier."""
REFERENCE = 8
"""Batches that tell what is usual."""


def leave_out(batch: Any, rows: Iterable[int], donor: Any = None) -> Any:
    """Put other rows in the place of some: the shape stays, and no step is traced anew for it.

    Parameters
    ----------
    donor : object, optional
        Batch of the same structure whose rows come in; None: rows of the batch itself.

    Raises
    ------
    Misfit
        When the donor is built in another way.
    """
    whole, gone = BatchRows(batch), sorted(set(rows))
    kept = [i for i in range(whole.count) if i not in set(gone)]
    if not whole.count or not gone or (donor is None and not kept):
        return batch
    source, fill = batch if donor is None else donor, list(range(whole.count))
    if donor is None:
        for place, row in zip(gone, np.resize(kept, len(gone))):
            fill[place] = int(row)
    return whole.mixed(kept, Filler(source, fill, "other rows"))


def row_count(batch: Any) -> int:
    """Rows of a batch, of dense, ragged and sparse parts alike; 0 where no part has any."""
    return BatchRows(batch).count


class WithoutRows(Change):
    """Rows that a rule points out are left out of every batch."""

    family = "rows"
    retraces = False

    def __init__(self, remedy: str, what: str, rule: Callable[[Any], Set[int]]) -> None:
        self.remedy, self.rule, self.words = remedy, rule, what
        self.what = what
        self._counted: Dict[int, int] = {}

    def batch(self, step: int, batch: Any) -> Any:
        """Leave the rows out and count them."""
        n, rows = row_count(batch), self.rule(batch)
        if step not in self._counted:
            self._counted[step] = len(rows)
            self.seen += n
            self.dropped += len(rows)
            if len(rows) > MAX_OF_BATCH * n:
                # too many at once: an emptied batch is no fix, and the judge sees the count
                self.dropped += self.seen
        return leave_out(batch, rows) if rows else batch


def non_finite_rows(failing: Any, usual: Sequence[Any]) -> WithoutRows:
    """Leave out rows with values that are NaN or infinite where other batches have none."""
    habits: Dict[str, int] = {}
    for batch in usual:
        for name, array in arrays.leaves(batch):
            habits[name] = habits.get(name, 0) | arrays.badness(array)

    def rule(batch: Any) -> Set[int]:
        n = row_count(batch) or -1
        return {
            row
            for name, array in arrays.leaves(batch)
            if arrays.badness(array) & ~habits.get(name, 0)
            for row in arrays.bad_rows(array, n)
        }

    if not rule(failing):
        raise Unfit("no row of the batch holds a non-finite value")
    return WithoutRows("drop_bad_rows", "rows with NaN or Inf left out", rule)


def far_rows(failing: Sequence[Any], usual: Sequence[Any]) -> WithoutRows:
    """Leave out rows of a magnitude that other batches do not have."""
    limits: Dict[str, float] = {}
    for batch in usual:
        n = row_count(batch) or None
        for name, array in arrays.leaves(batch):
            found = _magnitudes(array, n)
            if found is not None:
                limits.setdefault(name, 0.0)
                limits[name] = max(limits[name], FAR * float(np.median(found)))

    def rule(batch: Any) -> Set[int]:
        n, rows = row_count(batch) or None, set()
        for name, array in arrays.leaves(batch):
            found, limit = _magnitudes(array, n), limits.get(name, 0.0)
            if found is not None and limit > 0:
                rows |= {int(i) for i in np.nonzero(found > limit)[0]}
        return rows

    if not limits or not any(rule(batch) for batch in failing):
        raise Unfit("no row is far off")
    words = "rows left out that are %g times as large as usual" % FAR
    return WithoutRows("drop_outliers", words, rule)


def _magnitudes(array: Any, rows: Optional[int]) -> Optional[Any]:
    if rows is None or array.ndim == 0 or array.shape[0] != rows or not arrays.is_float(array):
        return None
    with np.errstate(all="ignore"):
        wide = np.abs(arrays.widen(array).astype(np.float64)).reshape(rows, -1)
    wide = np.where(np.isfinite(wide), wide, 0.0)
    return wide.max(axis=1) if wide.shape[1] else None


class WithoutCulprits(Change):
    """Rows that are found, step by step, to make the step fail are left out of it."""

    remedy, family = "drop_culprit_rows", "rows"
    what = "rows that make a step fail left out"
    retraces = False

    def __init__(self, runner: Runner, good: Optional[Any], batch: Any, bad_before: Any) -> None:
        if row_count(batch) < 2:
            raise Unfit("the batch has no rows to choose from")
        self.runner, self.good, self.bad_before = runner, good, bad_before

    def batch(self, step: int, batch: Any) -> Any:
        """Count the rows that come by; the last batch that went well lends its rows."""
        self.seen += row_count(batch)
        self._last, self._current = getattr(self, "_current", None), batch
        if self._last is not None:
            self.good = self._last
        return batch

    def rescue(self, step: int, before: Snapshot, batch: Any) -> Optional[Any]:
        """Find the rows by halving: those that fail among rows of a batch that went well."""
        n = row_count(batch)
        if self.good is None or not _alike(self.good, batch):
            return None
        everything = set(range(n))

        def fails(rows: Set[int]) -> bool:
            return self.runner.fails(
                before, leave_out(batch, everything - rows, self.good), self.bad_before
            )

        culprits = _culprits(fails, list(range(n)), int(MAX_OF_BATCH * n))
        if not culprits:
            return None
        self.dropped += len(culprits)
        other = leave_out(batch, culprits, self.good)
        self._current = other
        return other


def _culprits(fails: Callable[[Set[int]], bool], rows: List[int], most: int) -> List[int]:
    """Rows each of which makes the step fail alone; empty when there are none, or too many."""
    found: List[int] = []

    def search(part: List[int]) -> bool:
        if len(found) > most:
            return False
        if len(part) == 1:
            found.append(part[0])
            return True
        half = len(part) // 2
        return all(search(side) for side in (part[:half], part[half:]) if fails(set(side)))

    complete = search(rows)
    return found if complete and len(found) <= most else []


def _alike(one: Any, other: Any) -> bool:
    """Whether the rows of one batch can take the places of those of another, each of them."""
    if row_count(one) != row_count(other):
        return False
    with contextlib.suppress(Exception):
        leave_out(other, range(row_count(other)), one)
        return True
    return False


def usual_batches(stepper: Stepper, step: int) -> List[Any]:
    """Batches near a step, those before it first, that tell what is usual."""
    found: List[Any] = []
    for near in [*range(max(0, step - REFERENCE), step), *range(step + 1, step + REFERENCE)]:
        if len(found) >= REFERENCE:
            break
        try:
            found.append(stepper.batch(near))
        except EndOfData:
            continue
    return found
