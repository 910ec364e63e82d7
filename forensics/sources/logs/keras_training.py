"""One call of ``fit`` as its output tells of it, and what its positions mean in batches."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import gcd

from forensics.domain.quantity import Fidelity, Quantity
from forensics.sources.logs.curve import RUNNING_MEAN, Curve
from forensics.sources.tags import Counting, meaning

MOST_METRICS = 200
"""Names of metrics that are kept: those after them are not."""


@dataclass(slots=True)
class Redrawn:
    """A metric at every redrawing: epoch from 0, batches done in it, value."""

    epochs: array[int] = field(default_factory=lambda: array("q"))
    done: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))


@dataclass(slots=True)
class Training:
    """One call of ``fit``.

    Attributes
    ----------
    total : int
        Epochs that were wanted.
    samples : bool
        Whether positions count samples.
    bracketed : bool
        Whether bars are drawn as ``[===>...]``, as every Keras before 3 does.
    watched : bool
        Whether `TerminateOnNaN` looked at the loss of every batch.
    lengths : dict from int to int
        Batches (or samples) of each epoch.
    """

    total: int
    epoch: int = -1
    samples: bool = False
    bracketed: bool = False
    watched: bool = False
    ended: dict[str, Curve] = field(default_factory=dict)
    drawn: dict[str, Redrawn] = field(default_factory=dict)
    announced: Curve | None = None
    lengths: dict[int, int] = field(default_factory=dict)
    positions: Counter[int] = field(default_factory=Counter)

    def curves(self) -> list[Curve]:
        """Values of epochs, and running means of batches where the epochs' lengths are known."""
        found = [*self.ended.values(), *self._running()]
        rated = any(meaning(c.tag).quantity is Quantity.LEARNING_RATE for c in found)
        if self.announced is not None and not rated:
            found.append(self.announced)
        return found

    @property
    def steps_per_epoch(self) -> int | None:
        """Batches of an epoch, None where they differ or samples were counted."""
        size = self._unit()
        lengths = set(self.lengths.values())
        if size is None or len(lengths) != 1:
            return None
        return -(-lengths.pop() // size)

    def _unit(self) -> int | None:
        """How much is counted per batch: 1, or the size of a batch of samples, if it shows.

        Bars of old that go on by several at a time count samples or, in groups, batches: unknown.
        """
        inner = [p for p in self.positions if p not in set(self.lengths.values())]
        apart = gcd(*inner) if inner else 1
        if self.samples:
            return apart if len(inner) > 1 else None
        return None if self.bracketed and apart > 1 else 1

    def _running(self) -> Iterable[Curve]:
        unit = self._unit()
        if unit is None:
            return
        starts = self._starts(unit)
        for name, column in self.drawn.items():
            loss = meaning(name).quantity is Quantity.TRAIN_LOSS
            curve = Curve(
                RUNNING_MEAN.format(name),
                Counting.BATCHES_FROM_0,
                Fidelity.RUNNING_MEAN,
                quantity=Quantity.TRAIN_LOSS if loss else Quantity.OTHER,
                # With several batches per execution it is called after each group of them.
                watched=self.watched and name == "loss" and self.positions[1] > 0,
            )
            for epoch, done, value in zip(column.epochs, column.done, column.values, strict=True):
                start = starts.get(epoch)
                if start is not None and done > 0:
                    curve.add(start + -(-done // unit) - 1, value)
            yield curve

    def _starts(self, unit: int) -> dict[int, int]:
        """First batch of each epoch, as far as the lengths of those before it are known."""
        epochs = {e for column in self.drawn.values() for e in column.epochs}
        constant = self.steps_per_epoch
        if constant is not None:
            return {epoch: epoch * constant for epoch in epochs}
        starts, at = {0: 0}, 0
        for epoch in range(max(epochs, default=-1)):
            if epoch not in self.lengths:
                break
            at += -(-self.lengths[epoch] // unit)
            starts[epoch + 1] = at
        return starts

    def draw(self, name: str, done: int, value: float) -> bool:
        """Take what a bar shows of a metric; say whether there was room for it."""
        if name not in self.drawn and len(self.drawn) >= MOST_METRICS:
            return False
        column = self.drawn.setdefault(name, Redrawn())
        column.epochs.append(self.epoch)
        column.done.append(done)
        column.values.append(value)
        return True

    def was_drawn(self, name: str, done: int) -> bool:
        """Whether the last redrawing of a metric was that of a position in this epoch."""
        column = self.drawn.get(name)
        return bool(
            column is not None
            and len(column.done)
            and (column.epochs[-1], column.done[-1]) == (self.epoch, done)
        )

    def end_epoch(self, values: Mapping[str, float]) -> bool:
        """Take the values of the epoch; say whether there was room for all."""
        room = True
        for name, value in values.items():
            if name not in self.ended and len(self.ended) >= MOST_METRICS:
                room = False
                continue
            curve = self.ended.setdefault(name, Curve(name, Counting.EPOCHS, Fidelity.PRINTED))
            curve.add(self.epoch, value)
        return room

    def announce(self, epoch: int, rate: float) -> None:
        """Take a learning rate that a callback announced."""
        if self.announced is None:
            self.announced = Curve("learning_rate", Counting.EPOCHS, Fidelity.PRINTED)
        self.announced.add(epoch, rate)
