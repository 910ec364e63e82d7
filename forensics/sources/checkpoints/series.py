"""Which of a series of checkpoints is the first that holds NaN or Inf."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from forensics.domain.checkpoint import CheckpointSeries, SearchMethod
from forensics.domain.run import (
    CheckpointStats,
    CheckpointStatus,
    InputFile,
    ReadWarning,
    TensorKind,
)
from forensics.sources.checkpoints.checkpoint_format import Claim, Format
from forensics.sources.checkpoints.scan import CheckpointScan, read_claimed
from forensics.sources.checkpoints.steps import Counters, step_of
from forensics.sources.storage.place import Place
from forensics.sources.storage.tree import natural

Found = tuple[Format, Claim]

_FEW = 4
"""Remote checkpoints up to which all are read: bisection would save one of them."""


def first_poisoned(place: Place, claims: Sequence[Found]) -> CheckpointSeries:
    """Find the first poisoned checkpoint, in order of step.

    All are read where they lie on a disk. Where reading is remote they are bisected, in the order
    that their names tell; that finds the first only if poison stays once it came, which it need not
    (a run may restore an older state): ``method`` says so.

    Parameters
    ----------
    place : Place
        Where they lie.
    claims : sequence of (Format, Claim)
        As found there.

    Returns
    -------
    CheckpointSeries
        A damaged checkpoint is neither poisoned nor clean, unless what is left of it is poisoned.
    """
    if place.local is not None or len(claims) <= _FEW:
        scan = read_claimed(place, claims, [])
        first, clean = _turn(scan.checkpoints)
        listed = [c.path for c in scan.checkpoints]
        listed += sorted({claim.name for _, claim in claims}.difference(listed), key=natural)
        return CheckpointSeries(
            scan.checkpoints, tuple(listed), first, clean, SearchMethod.ALL, scan.inputs,
            scan.warnings,
        )  # fmt: skip
    return _Bisection(place, claims).run()


def is_poisoned(checkpoint: CheckpointStats) -> bool:
    """Whether anything that training goes on from is known not to be finite."""
    return any(t.kind is not TensorKind.METRIC for t in checkpoint.bad_tensors)


def _turn(checkpoints: Sequence[CheckpointStats]) -> tuple[str | None, str | None]:
    """Path of the first poisoned one, and of the last clean one before it."""
    # By folder, and in any: below one root may lie several runs.
    clean: dict[str | None, str] = {}
    for checkpoint in checkpoints:
        folder = checkpoint.path.rpartition("/")[0]
        if is_poisoned(checkpoint):
            return checkpoint.path, clean.get(folder, clean.get(None))
        if checkpoint.status is CheckpointStatus.CLEAN:
            clean[folder] = clean[None] = checkpoint.path
    return None, None


class _Bisection:
    """Reads as few checkpoints as it can."""

    def __init__(self, place: Place, claims: Sequence[Found]) -> None:
        self._place = place
        self._claims = sorted(claims, key=_order_by_name)
        self._read: dict[int, CheckpointStats | None] = {}
        self._inputs: list[InputFile] = []
        self._warnings: list[ReadWarning] = []

    def run(self) -> CheckpointSeries:
        first = self._search()
        read = [c for _, c in sorted(self._read.items()) if c is not None]
        path = self._claims[first][1].name if first is not None else None
        clean = None
        if first is not None:
            before = (self._read.get(i) for i in range(first - 1, -1, -1))
            clean = next((c.path for c in before if c and c.status is CheckpointStatus.CLEAN), None)
        return CheckpointSeries(
            tuple(read), tuple(claim.name for _, claim in self._claims), path, clean,
            SearchMethod.BISECTION, tuple(self._inputs), tuple(self._warnings),
        )  # fmt: skip

    def _search(self) -> int | None:
        """Index of the first poisoned one, taking poison to stay once it came."""
        low, high = 0, len(self._claims)
        first = None
        last = self._known_before(high, low)
        if last is None or not self._poisoned(last):
            return None
        first, high = last, last
        while low < high:
            middle = self._known_before((low + high) // 2 + 1, low)
            if middle is None:
                low = (low + high) // 2 + 1
            elif self._poisoned(middle):
                first, high = middle, middle
            else:
                low = (low + high) // 2 + 1
        return first

    def _known_before(self, end: int, start: int) -> int | None:
        """Return the last one before `end` that tells whether it is poisoned."""
        for index in range(end - 1, start - 1, -1):
            found = self._checkpoint(index)
            if found is not None and (is_poisoned(found) or found.status is CheckpointStatus.CLEAN):
                return index
        return None

    def _poisoned(self, index: int) -> bool:
        found = self._checkpoint(index)
        return found is not None and is_poisoned(found)

    def _checkpoint(self, index: int) -> CheckpointStats | None:
        if index not in self._read:
            scan: CheckpointScan = read_claimed(self._place, [self._claims[index]], [])
            self._inputs.extend(scan.inputs)
            self._warnings.extend(scan.warnings)
            self._read[index] = scan.checkpoints[0] if scan.checkpoints else None
        return self._read[index]


def _order_by_name(found: Found) -> tuple[bool, int, Any]:
    name = found[1].name
    step, _ = step_of(name, Counters())
    return step is None, step or 0, natural(name)
