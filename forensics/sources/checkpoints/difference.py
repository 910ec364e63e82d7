"""What two checkpoints differ in, tensor by tensor, streamed pairwise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from forensics.domain.checkpoint import ChangeKind, CheckpointDifference, TensorChange
from forensics.domain.run import TensorKind, TensorStats
from forensics.errors import Damaged, NothingToAnalyze
from forensics.sources.checkpoints.checkpoint_format import (
    Claim,
    Format,
    NotACheckpoint,
    OpenCheckpoint,
    Unopened,
)
from forensics.sources.checkpoints.contents import refusal
from forensics.sources.checkpoints.registry import open_checkpoint
from forensics.sources.checkpoints.scan import conclude
from forensics.sources.checkpoints.stored_tensor import StoredTensor
from forensics.sources.checkpoints.summarise import expect, summarise
from forensics.sources.checkpoints.tensor_pairs import (
    PairStats,
    SideFailed,
    compare_values,
    equal_bytes,
)
from forensics.sources.storage.place import Place


def compare(
    place_a: Place, a: tuple[Format, Claim], place_b: Place, b: tuple[Format, Claim]
) -> CheckpointDifference:
    """Read two checkpoints side by side.

    Parameters
    ----------
    place_a, place_b : Place
        Where they lie.
    a, b : tuple of Format and Claim
        As found there.

    Returns
    -------
    CheckpointDifference
        Tensors in the order of A, then those that only B has. At most a few pieces of a tensor are
        held at once, whatever its size. Broken input is a record in it.

    Raises
    ------
    NothingToAnalyze
        One of them cannot be opened, or is no checkpoint.
    """
    place_a.expect(a[1].files)
    place_b.expect(b[1].files)
    with ExitStack() as stack:
        one = stack.enter_context(_opened(place_a, a))
        two = stack.enter_context(_opened(place_b, b))
        expect([*one.stored, *two.stored])
        pairs = _Pairs(one, two)
        with one.hashed_beside(), two.hashed_beside():
            changes = list(pairs.changes())
        pairs.judge()
        stats_a, stats_b = conclude(one), conclude(two)
        kinds = {t.name: t.kind for t in (*stats_b.tensors, *stats_a.tensors)}
        return CheckpointDifference(
            a=stats_a,
            b=stats_b,
            tensors=tuple(_with_kind(change, kinds) for change in changes),
            inputs=(*one.contents.inputs, *two.contents.inputs),
            warnings=(*one.contents.warnings, *two.contents.warnings),
        )


def _opened(place: Place, found: tuple[Format, Claim]) -> OpenCheckpoint:
    try:
        return open_checkpoint(place, *found)
    except NotACheckpoint:
        why = "this is no checkpoint"
    except Unopened as error:
        why = refusal(error.cause)
    raise NothingToAnalyze(f"{place.label}: {found[1].name}: {why}")


class _Pairs:
    """Tensors of two open checkpoints by name, and the statistics of those that were read."""

    def __init__(self, a: OpenCheckpoint, b: OpenCheckpoint) -> None:
        self._sides = a, b
        self._stats: tuple[dict[str, TensorStats], dict[str, TensorStats]] = {}, {}

    def changes(self) -> Iterator[TensorChange]:
        """Read everything once, and say what became of each tensor."""
        a, b = self._sides
        in_b = {tensor.name: tensor for tensor in b.stored}
        for tensor in a.stored:
            other = in_b.pop(tensor.name, None)
            if other is None:
                self._alone(0, tensor)
                yield _change(ChangeKind.ONLY_IN_A, tensor, None)
            else:
                yield self._both(tensor, other)
        for tensor in in_b.values():
            self._alone(1, tensor)
            yield _change(ChangeKind.ONLY_IN_B, None, tensor)

    def judge(self) -> None:
        """Hand the statistics to the checkpoints, in their order."""
        for checkpoint, stats in zip(self._sides, self._stats, strict=True):
            names = dict.fromkeys(tensor.name for tensor in checkpoint.stored)
            checkpoint.contents.tensors.extend(stats[name] for name in names if name in stats)
            checkpoint.judge(checkpoint.contents)

    def _alone(self, side: int, tensor: StoredTensor) -> bool:
        """Summarise a tensor of one side; whether it could be read."""
        try:
            self._stats[side][tensor.name] = summarise(tensor)
        except Damaged as error:
            self._sides[side].contents.fail(error)
            return False
        return True

    def _both(self, a: StoredTensor, b: StoredTensor) -> TensorChange:
        if a.shape != b.shape or a.numeric != b.numeric:
            read = [self._alone(0, a), self._alone(1, b)]
            kind = ChangeKind.SHAPE_CHANGED if a.shape != b.shape else ChangeKind.DTYPE_CHANGED
            return _change(kind if all(read) else ChangeKind.UNREADABLE, a, b)
        try:
            if a.numeric:
                return self._values(a, b)
            same = equal_bytes(a, b)
        except SideFailed as error:
            broken = 0 if error.first else 1
            self._sides[broken].contents.fail(error.cause)
            self._alone(1 - broken, (b, a)[broken])
            return _change(ChangeKind.UNREADABLE, a, b)
        self._alone(0, a)
        self._alone(1, b)
        kind = ChangeKind.UNCHANGED if same else ChangeKind.CHANGED
        return _change(kind if a.dtype == b.dtype else ChangeKind.DTYPE_CHANGED, a, b)

    def _values(self, a: StoredTensor, b: StoredTensor) -> TensorChange:
        found = compare_values(a, b)
        self._stats[0][a.name], self._stats[1][b.name] = found.a, found.b
        if a.dtype != b.dtype:
            kind = ChangeKind.DTYPE_CHANGED
        else:
            kind = ChangeKind.UNCHANGED if found.equal else ChangeKind.CHANGED
        return _change(kind, a, b, found)


def _change(
    kind: ChangeKind, a: StoredTensor | None, b: StoredTensor | None, found: PairStats | None = None
) -> TensorChange:
    name = a.name if a is not None else b.name if b is not None else ""
    norm, change = (None, None) if found is None else (found.norm_a, found.difference_norm)
    return TensorChange(
        name=name,
        kind=TensorKind.OTHER,
        change=kind,
        shape_a=a.shape if a is not None else None,
        shape_b=b.shape if b is not None else None,
        dtype_a=a.dtype if a is not None else None,
        dtype_b=b.dtype if b is not None else None,
        norm_a=_known(norm),
        difference_norm=_known(change),
        update_ratio=_ratio(change, norm),
        max_change=None if found is None else _known(found.max_change),
        became_bad=None if found is None else found.became_bad,
    )


def _known(value: float | None) -> float | None:
    """None for what has no value: nothing is finite in both."""
    return None if value is None or math.isnan(value) else value


def _ratio(change: float | None, norm: float | None) -> float | None:
    if change is None or not norm or math.isnan(norm):
        return None
    return change / norm if math.isfinite(norm) else None


def _with_kind(change: TensorChange, kinds: dict[str, TensorKind]) -> TensorChange:
    return replace(change, kind=kinds.get(change.name, TensorKind.OTHER))
