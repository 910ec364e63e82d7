"""Rows left out: those that are non-finite, far off, or found to make a step fail."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Set

import numpy as np

from .. import arrays
from ..localising.localise import batch_rows
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
    """
    n, gone = batch_rows(batch), sorted(set(rows))
    kept = [i for i in range(n or 0) if i not in set(gone)]
    if n is None or not gone or (donor is None and not kept):
        return batch
    others = iter([p for _, p in arrays.named_parts(donor)]) if donor is not None else None

    def change(part: Any) -> Any:
        source = next(others) if others is not None else part
        array, other = np.array(part), np.asarray(source)
        if array.ndim == 0 or array.shape[0] != n or other.shape[:1] != array.shape[:1]:
            return part
        array[gone] = other[gone] if donor is not None else other[np.resize(kept, len(gone))]
        return array

    return arrays.mapped(batch, change)


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
        n, rows = batch_rows(batch) or 0, self.rule(batch)
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
        n = batch_rows(batch) or -1
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
        n = batch_rows(batch)
        for name, array in arrays.leaves(batch):
            found = _magnitudes(array, n)
            if found is not None:
                limits.setdefault(name, 0.0)
                limits[name] = max(limits[name], FAR * float(np.median(found)))

    def rule(batch: Any) -> Set[int]:
        n, rows = batch_rows(batch), set()
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
        n = batch_rows(batch)
        if n is None or n < 2:
            raise Unfit("the batch has no rows to choose from")
        self.runner, self.good, self.bad_before = runner, good, bad_before

    def batch(self, step: int, batch: Any) -> Any:
        """Count the rows that come by; the last batch that went well lends its rows."""
        self.seen += batch_rows(batch) or 0
        self._last, self._current = getattr(self, "_current", None), batch
        if self._last is not None:
            self.good = self._last
        return batch

    def rescue(self, step: int, before: Snapshot, batch: Any) -> Optional[Any]:
        """Find the rows by halving: those that fail among rows of a batch that went well."""
        n = batch_rows(batch) or 0
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
    first = [(name, array.shape, array.dtype) for name, array in arrays.leaves(one)]
    return first == [(name, array.shape, array.dtype) for name, array in arrays.leaves(other)]


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
