"""What the groups of rows that fail say about the batch, in the fields of the report."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Sequence

from .minimise import Group

SMALL_SHARE = 4
"""Rows that fail only together are named one by one up to a quarter of the batch (and up to the
limit of `minimise`); the failure of more than that is called collective."""


class RowsFound:
    """What is known of the rows."""

    def __init__(self) -> None:
        self.samples: List[int] = []
        self.culprits: List[List[int]] = []
        self.minimal: List[int] = []
        self.collective: Optional[bool] = None
        self.notes: List[str] = []

    def fields(self) -> Dict[str, Any]:
        """Answer of the worker."""
        return {
            "samples": self.samples, "culprits": self.culprits, "minimal_batch": self.minimal,
            "collective": self.collective, "row_notes": self.notes,
        }  # fmt: skip

    def conclude(self, groups: Sequence[Group], traced: Sequence[int], count: int) -> None:
        """Tell guilty rows from a failure of the whole batch.

        Parameters
        ----------
        groups : sequence of Group
            Independent groups, each of which fails.
        traced : sequence of int
            Rows that are guilty by the trace although they are in no group.
        count : int
            Rows of the batch.
        """
        if not groups:
            return
        limit = max(2, count // SMALL_SHARE)
        small = [g for g in groups if _is_small(g, limit, count)]
        large = [g for g in groups if g not in small]
        self.culprits = [g.rows for g in small]
        self.minimal = min((g.rows for g in small or large), key=len)
        self.collective = not small
        guilty = {row for rows in self.culprits for row in rows}
        self.samples = sorted(guilty | set(traced)) if small else []
        self.notes.extend(_sentences(small, large, len(self.samples), count))


def _is_small(group: Group, limit: int, count: int) -> bool:
    minimal = group.at_least == len(group.rows) <= limit
    return minimal and (len(group.rows) < count or count == 1)


def _sentences(small: List[Group], large: List[Group], guilty: int, count: int) -> Iterator[str]:
    for group in small:
        if len(group.rows) > 1:
            yield "rows %s fail only together" % ", ".join(map(str, group.rows))
    for group in large:
        yield "only many rows together fail: %d of the %d rows do, fewer than %d do not" % (
            len(group.rows), count, group.at_least
        )  # fmt: skip
    if 2 * guilty > count > 1:
        yield (
            "%d of the %d rows make the step fail: either most of this batch is bad, or the "
            "model and its state are and the rows are not to blame" % (guilty, count)
        )
