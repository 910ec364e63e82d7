"""Rows of a tracker, in which each metric may have an axis of its own.

W&B counts calls of ``log`` where nothing else is said; its Keras callback [1]_ logs ``epoch/loss``
over ``epoch/epoch`` and ``batch/loss`` over ``batch/batch_step``.

References
----------
.. [1] wandb, ``integration/keras/callbacks/metrics_logger.py``: epochs and batches from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan

from forensics.domain.quantity import Fidelity
from forensics.sources.logs.axes import Axes
from forensics.sources.logs.curve import Curve
from forensics.sources.logs.numbers import step_of
from forensics.sources.logs.tabular import Table

_BY_NAMESPACE = {"epoch": "epoch/epoch", "batch": "batch/batch_step"}


class RowAxes:
    """Collects rows of a tracker."""

    def __init__(self) -> None:
        self._table = Table(Fidelity.RECORD)
        self._counted = Table(Fidelity.RECORD, steps_are_calls=True)
        self._axes: dict[str, str] = {}

    def define(self, name: str, axis: str) -> None:
        """Note over which metric another one, or all that begin alike (``batch/*``), is drawn."""
        if axis != name and len(self._axes) < 10_000:
            self._axes[name] = axis

    def take(self, row: Mapping[str, float], call: int | None, time: float = nan) -> None:
        """Take a row.

        Parameters
        ----------
        row : mapping of str to float
            Values by name.
        call : int or None
            Number of the call of ``log``.
        time : float
            Seconds since the epoch.
        """
        axes = Axes.among(row)
        general = {axes.step, axes.epoch, *self._axes.values(), *_BY_NAMESPACE.values()}
        for name, value in row.items():
            if name in general:
                continue
            own = self._own_axis(name)
            at = step_of(row.get(own)) if own is not None else None
            if own is not None and at is not None:
                by_epoch = own.rpartition("/")[2] == "epoch"
                self._table.add(
                    [(name, value)], None if by_epoch else at, at if by_epoch else None, time
                )
                continue
            step = step_of(row.get(axes.step)) if axes.step is not None else None
            epoch = row.get(axes.epoch) if axes.epoch is not None else None
            table = self._counted if step is None else self._table
            table.add([(name, value)], call if step is None else step, epoch, time)

    def _own_axis(self, name: str) -> str | None:
        space = name.partition("/")[0]
        return (
            self._axes.get(name)
            or self._axes.get(f"{space}/*")
            or self._axes.get("*")
            or _BY_NAMESPACE.get(space)
        )

    def curves(self, *, lossy: bool = False) -> list[Curve]:
        """Return every metric as a curve; `lossy` where rows are missing."""
        return [*self._table.curves(lossy=lossy), *self._counted.curves(lossy=lossy)]
