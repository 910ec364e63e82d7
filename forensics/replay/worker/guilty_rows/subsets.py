"""A batch taken apart by rows, and put together again with some of them replaced.

Rows are replaced, never removed: shapes stay the same, so that nothing is traced or compiled anew
and layers with a fixed batch size still work.
"""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from .. import arrays


class Misfit(Exception):
    """Two batches differ in structure or in the shape of their rows."""


class Filler:
    """Rows that take the place of others.

    Parameters
    ----------
    source : object
        Batch that they are taken from.
    rows : list of int
        For each place of the batch the row of `source` that fills it.
    said : str
        What they are, for the report.
    """

    __slots__ = ("rows", "said", "source")

    def __init__(self, source: Any, rows: Sequence[int], said: str) -> None:
        self.source, self.rows, self.said = source, list(rows), said


class BatchRows:
    """The rows of a batch: `count` of them (0: no part has any), along one axis of each part."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch
        self._parts = [part for _, part in arrays.named_parts(batch)]
        shapes = [shape_of(part) for part in self._parts]
        self.count = _rows_of(shapes)
        self._axes = [_axis(shape, self.count) for shape in shapes]

    def mixed(self, kept: Sequence[int], filler: Filler) -> Any:
        """Batch in which every row that is not `kept` is replaced.

        Raises
        ------
        Misfit
            When the filler's batch is built in another way.
        """
        names = [name for name, _ in arrays.named_parts(self.batch)]
        others = arrays.named_parts(filler.source)
        if names != [name for name, _ in others]:
            raise Misfit("the batches have different parts")
        own = set(kept)
        picks = [(0, i) if i in own else (1, row) for i, row in enumerate(filler.rows)]
        mixed = iter(
            [
                part if axis is None else _picked(part, other, picks, axis)
                for part, (_, other), axis in zip(self._parts, others, self._axes)
            ]
        )
        return arrays.mapped(self.batch, lambda part: next(mixed))

    def tied_to(self, other: Any) -> List[str]:
        """Parts without rows that another batch has otherwise: the rows belong to just these.

        Tokens of all texts in one list, for instance, whose lengths are the rows.
        """
        mine = arrays.named_parts(self.batch)
        theirs = dict(arrays.named_parts(other))
        return [
            name
            for (name, part), axis in zip(mine, self._axes)
            if axis is None and shape_of(part) and name in theirs and _differ(part, theirs[name])
        ]

    def magnitudes(self) -> List[float]:
        """How far each row stands out: its largest value over that of the usual row, at worst."""
        worst = np.zeros(self.count)
        for part, axis in zip(self._parts, self._axes):
            if axis is not None:
                worst = np.maximum(worst, _magnitudes(part, axis, self.count))
        return [float(value) for value in worst]


def faint(batch: Any) -> Any:
    """Batch with all its floating-point numbers divided by 100: rows that add next to nothing.

    Not 0: logarithms, norms and sums of weights have no value there.
    """

    def weaken(part: Any) -> Any:
        if isinstance(part, list) or hasattr(part, "dense_shape") or not hasattr(part, "dtype"):
            return part
        if hasattr(part, "nested_row_splits"):
            return part
        array = np.asarray(part)
        if not arrays.is_float(array):
            return part
        weak = (array / 100).astype(array.dtype)
        if isinstance(part, (np.ndarray, np.generic)):
            return weak
        import tensorflow as tf

        return tf.convert_to_tensor(weak)

    return arrays.mapped(batch, weaken)


def shape_of(part: Any) -> Optional[Tuple[Optional[int], ...]]:
    """Shape of one part of a batch; None where it has no rows."""
    if isinstance(part, list):
        return (len(part),)
    try:
        if hasattr(part, "dense_shape"):
            return tuple(int(n) for n in np.asarray(part.dense_shape))
        if hasattr(part, "nested_row_splits"):
            return (int(part.nrows()), *part.shape[1:])
        shape = getattr(part, "shape", None)
        return tuple(shape) if shape is not None and len(shape) else None
    except Exception:
        return None


def _rows_of(shapes: List[Any]) -> int:
    """Size that most parts have as their first axis, or else as their second (time comes first)."""
    known = [shape for shape in shapes if shape]
    sizes = [shape[0] for shape in known if shape[0]]

    def fitting(size: int) -> Tuple[int, int, int]:
        axes = [_axis(shape, size) for shape in known]
        return len(axes) - axes.count(None), axes.count(0), -sizes.index(size)

    return max(sizes, key=fitting) if sizes else 0


def _axis(shape: Optional[Tuple[Optional[int], ...]], size: int) -> Optional[int]:
    if not shape or not size:
        return None
    return next((axis for axis, n in enumerate(shape[:2]) if n == size), None)


Picks = List[Tuple[int, int]]
"""For each row of the result: 0 for the part itself or 1 for the other, and the row there."""


def _picked(part: Any, other: Any, picks: Picks, axis: int) -> Any:
    if isinstance(part, list):
        return [(other if which else part)[row] for which, row in picks]
    if hasattr(part, "dense_shape"):
        return _picked_sparse(part, other, picks, axis)
    if hasattr(part, "nested_row_splits"):
        return _picked_ragged(part, other, picks)
    own, strange = np.array(part), np.asarray(other)
    if own.dtype != strange.dtype or not _fit(own.shape, strange.shape, axis):
        raise Misfit("rows have shape %s and %s" % (own.shape, strange.shape))
    places = [i for i, (which, _) in enumerate(picks) if which]
    rows = [row for which, row in picks if which]
    if axis == 0:
        own[places] = strange[rows]
    else:
        own[:, places] = strange[:, rows]
    if isinstance(part, np.ndarray):
        return own
    import tensorflow as tf

    return tf.convert_to_tensor(own)


def _differ(one: Any, two: Any) -> bool:
    try:
        return not np.array_equal(np.asarray(one), np.asarray(two))
    except Exception:
        return True


def _fit(one: Tuple[int, ...], two: Tuple[int, ...], axis: int) -> bool:
    return one[:axis] + one[axis + 1 :] == two[:axis] + two[axis + 1 :]


def _picked_ragged(part: Any, other: Any, picks: Picks) -> Any:
    import tensorflow as tf

    if part.dtype != other.dtype or part.ragged_rank != other.ragged_rank:
        raise Misfit("ragged parts differ in dtype or rank")
    rows = int(part.nrows())
    return tf.gather(tf.concat([part, other], axis=0), [which * rows + i for which, i in picks])


def _picked_sparse(part: Any, other: Any, picks: Picks, axis: int) -> Any:
    import tensorflow as tf

    shape = [int(n) for n in np.asarray(part.dense_shape)]
    if part.dtype != other.dtype or not _fit(
        tuple(shape), tuple(int(n) for n in np.asarray(other.dense_shape)), axis
    ):
        raise Misfit("sparse parts differ in dtype or shape")
    held = [(np.asarray(p.indices), np.asarray(p.values)) for p in (part, other)]
    indices, values = [], []
    for place, (which, row) in enumerate(picks):
        found = held[which][0][:, axis] == row
        moved = held[which][0][found].copy()
        moved[:, axis] = place
        indices.append(moved)
        values.append(held[which][1][found])
    mixed = tf.SparseTensor(np.concatenate(indices), np.concatenate(values), shape)
    return tf.sparse.reorder(mixed)


def _magnitudes(part: Any, axis: int, count: int) -> Any:
    if hasattr(part, "dense_shape") or hasattr(part, "nested_row_splits"):
        return np.zeros(count)
    array = np.asarray(part)
    if not arrays.is_float(array):
        return np.zeros(count)
    with np.errstate(all="ignore"):
        table = np.abs(arrays.widen(np.moveaxis(array, axis, 0))).reshape(count, -1)
        largest = table.max(axis=1) if table.shape[1] else np.zeros(count)
        largest = np.where(np.isfinite(largest), largest, np.inf).astype(np.float64)
        usual = float(np.median(largest))
        return largest / usual if np.isfinite(usual) and usual > 0 else largest
