"""Tables of many tags at once: columns are joined, no value is touched one by one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forensics.domain.logged import COLUMNS, LoggedKind, LoggedTag

if TYPE_CHECKING:
    import pandas as pd

    from forensics.domain.run import CheckpointStats, ReadWarning, Series


def scalar_frame(series: Sequence[Series]) -> pd.DataFrame:
    """Every point of every series, in the order they were written, series after series."""
    import pandas as pd

    lengths = [len(s) for s in series]
    return pd.DataFrame(
        {
            "writer": repeated([s.writer for s in series], lengths),
            "tag": repeated([s.tag for s in series], lengths),
            "step": joined([s.logged_steps for s in series], np.int64),
            "wall_time": joined([s.wall_times for s in series], np.float64),
            "value": joined([s.values for s in series], np.float64),
            "quantity": labelled([s.quantity.value for s in series], lengths),
            "step_axis": labelled([s.step_axis.value for s in series], lengths),
            "fidelity": labelled([s.fidelity.name.lower() for s in series], lengths),
            "aligned_step": joined([s.steps for s in series], np.int64),
        },
        # The columns are nobody else's: a copy would cost more than all the rest.
        copy=False,
    )


def logged_frame(
    kind: LoggedKind, tags: Sequence[LoggedTag], warnings: Sequence[ReadWarning]
) -> pd.DataFrame:
    """Every value of a kind; what could not be decoded is in ``attrs["warnings"]``."""
    import pandas as pd

    lengths = [len(t.steps) for t in tags]
    frame = pd.DataFrame(
        {
            "writer": repeated([t.writer for t in tags], lengths),
            "tag": repeated([t.tag for t in tags], lengths),
            "step": joined([t.steps for t in tags], np.int64),
            "wall_time": joined([t.wall_times for t in tags], np.float64),
            **{name: column([t.columns[name] for t in tags]) for name in COLUMNS[kind]},
        },
        copy=False,
    )
    frame.attrs["warnings"] = tuple(warnings)
    return frame


_STATISTICS = (
    *("name", "kind", "shape", "dtype", "count", "nan", "pos_inf", "neg_inf", "zero"),
    *("min", "max", "mean", "std", "l2_norm"),
)

_WORDS = ("checkpoint", "format", "step_source", "status", "name", "kind", "shape", "dtype")
"""Columns of a table of checkpoints that hold no numbers."""


def checkpoint_frame(checkpoints: Sequence[CheckpointStats]) -> pd.DataFrame:
    """Every tensor of every checkpoint; a checkpoint without any has one row without a name."""
    import pandas as pd

    rows = [(saved, tensor) for saved in checkpoints for tensor in (saved.tensors or (None,))]
    table: dict[str, Any] = {
        "checkpoint": [saved.path for saved, _ in rows],
        "format": [saved.format.value for saved, _ in rows],
        "step": pd.array([saved.step for saved, _ in rows], dtype="Int64"),
        "step_source": [None if s.step_source is None else s.step_source.value for s, _ in rows],
        "status": [saved.status.value for saved, _ in rows],
    }
    for name in _STATISTICS:
        table[name] = [None if tensor is None else getattr(tensor, name) for _, tensor in rows]
    table["kind"] = [None if tensor is None else tensor.kind.value for _, tensor in rows]
    frame = pd.DataFrame(table)
    # Of no rows pandas would make numbers, which have no `.str`.
    return frame if rows else frame.astype(dict.fromkeys(_WORDS, object))


def repeated(names: Sequence[str], lengths: Sequence[int]) -> Any:
    """Each name as often as its length says, as the kind of text column that pandas would make.

    It is asked with the names alone: to look at every row takes longer than to make them.
    """
    import pandas as pd

    found = pd.Series([*names, "one that tells the kind where there is none"]).array[:-1]
    return found.repeat(np.array(lengths, np.int64))


def labelled(labels: Sequence[str], lengths: Sequence[int]) -> Any:
    """Each of a few labels as often as its length says."""
    import pandas as pd

    categories = sorted(set(labels))
    number = {label: code for code, label in enumerate(categories)}
    codes = np.array([number[label] for label in labels], np.int8)
    return pd.Categorical.from_codes(
        np.repeat(codes, np.array(lengths, np.int64)), categories=pd.Index(categories, dtype="str")
    )


def joined(parts: Sequence[npt.NDArray[Any]], dtype: type[np.generic]) -> npt.NDArray[Any]:
    """All parts one after the other; of `dtype` where there are none."""
    return np.concatenate(parts) if parts else np.zeros(0, dtype)


def column(parts: Sequence[Any]) -> npt.NDArray[Any]:
    """All parts one after the other: numbers where all are arrays, any objects otherwise."""
    if parts and all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    found = np.empty(sum(len(part) for part in parts), object)
    # item by item, so that arrays of one shape do not become one array
    for at, item in enumerate(chain.from_iterable(parts)):
        found[at] = item
    return found
