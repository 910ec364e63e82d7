"""What ``fit`` prints: epochs, and the progress bar that is redrawn after each batch.

Both generations of Keras are read [1]_ [2]_, with ``verbose=1`` and ``verbose=2``. The numbers are
those of the metrics so far, i.e. the **mean over the epoch up to this batch**, rounded to four
digits. So the batch at which NaN shows first is the first bad one, or one since the last redrawing,
and NaN stays until the epoch ends. The last line of an epoch gives the epoch's own value.

References
----------
.. [1] Keras 3, ``keras/src/utils/progbar.py`` and ``callbacks/progbar_logger.py``: no header where
   there is one epoch only; when a callback stops the training, the bar is finished all the same.
.. [2] Keras 2.15, ``keras/src/utils/generic_utils.py``. TensorFlow 1 counted samples, not batches
   (``keras/engine/training_arrays.py``: ``Train on N samples``, ``us/sample``).
.. [3] Keras 3, ``callbacks/terminate_on_nan.py``: ``Batch N: Invalid loss``, N from 0, or an error.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import gcd, nan

from forensics.domain.quantity import Fidelity, Quantity
from forensics.sources.logs.curve import RUNNING_MEAN, Curve
from forensics.sources.logs.numbers import NUMBER
from forensics.sources.tags import Counting, meaning

_EPOCH = re.compile(r"\s{0,4}Epoch (\d{1,9})/(\d{1,9})\s{0,16}")
_DRAWN = re.compile(r"\s{0,16}(\d{1,12})/(\d{1,12}|Unknown)(?=[\s\[])")
_TIMED = re.compile(r"\d(?:s|us|ms)\b|ETA:|\d:\d\d")
# Four digits are all: what follows without a space was printed by someone else.
_VALUE = re.compile(
    r"([^\s:][^:]{0,200}): {1,4}(" + NUMBER + r")(?:\s|$|(?<=\.\d{4})(?=[A-Za-z\[]))", re.IGNORECASE
)
_STOPPED = re.compile(
    r"Batch (\d{1,12}+): Invalid loss, terminating training"
    r"|NaN or Inf loss encountered at batch (\d{1,12}+)\."
)
_RATE = re.compile(
    r"\s{0,4}Epoch (\d{1,9}): (ReduceLROnPlateau reducing|LearningRateScheduler setting) "
    r"learning rate to (" + NUMBER + r")\.?\s{0,4}$",
    re.IGNORECASE,
)
_SAMPLES = re.compile(r"\s{0,4}Train on \d{1,12} samples")
_OLD = re.compile(r" - \d{1,9}(?:s|ms|us)\b")
"""How ``verbose=2`` began before it told the number of batches."""
_OF_EPOCHS = frozenset({"lr", "learning_rate"})
"""What callbacks add at the end of an epoch."""
MOST_METRICS, MOST_UPDATES = 200, 2_000_000
"""Names of metrics that are kept, and redrawings: those after them are not."""


@dataclass(slots=True)
class _Column:
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
    drawn: dict[str, _Column] = field(default_factory=dict)
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
        apart = gcd(*inner) if len(inner) > 1 else None
        if self.samples:
            return apart
        return None if self.bracketed and apart is not None and apart > 1 else 1

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


class KerasProgress:
    """Follows the output of ``fit``, line by line.

    Attributes
    ----------
    trainings : list of Training
        A count that starts again from the first epoch is another training; one that goes back to a
        later epoch is the same, resumed. Calls with ``epochs=1`` one after the other count on.
    undated : int or None
        Batch at which `TerminateOnNaN` stopped an epoch that nothing tells.
    """

    def __init__(self) -> None:
        self.trainings: list[Training] = []
        self.overflow = False
        self.undated: int | None = None
        self._updates = 0
        self._headed = False
        self._samples = False
        self._lost = False
        self._reset()

    def _reset(self) -> None:
        self._seen: dict[str, float] = {}
        self._length: int | None = None
        self._done = 0
        self._complete = self._stopped = False

    def line(self, text: str) -> bool:
        """Take a line; say whether it is one of ``fit``'s."""
        if "Invalid loss" in text or "loss encountered" in text:
            stopped = _STOPPED.search(text)
            if stopped is not None:
                # A bar does not end its line, so the message stands behind it.
                self.line(text[: stopped.start()])
                self._stop(int(stopped[1] or stopped[2]))
                return True
        drawn = _DRAWN.match(text)
        if drawn is not None:
            return self._progress(drawn, text)
        if self._headed and text.startswith(" - "):
            return self._old_summary(text)
        if "Epoch" in text:
            header = _EPOCH.fullmatch(text)
            if header is not None:
                self._header(int(header[1]) - 1, int(header[2]))
                return True
            rate = _RATE.match(text)
            if rate is not None:
                self._rate(int(rate[1]), "reducing" in rate[2], float(rate[3]))
                return True
        elif "Train on" in text and _SAMPLES.match(text):
            self._samples = True
            return True
        return False

    def finish(self) -> None:
        """End the last epoch."""
        self._end_epoch()

    def interrupt(self) -> None:
        """Note that lines are missing here: which epoch goes on is not known until one begins."""
        self._end_epoch()
        self._lost = True

    def _header(self, epoch: int, total: int) -> None:
        self._lost = False
        current = self.trainings[-1] if self.trainings else None
        untouched = not (self._seen or self._stopped)
        if self._headed and current is not None and untouched and current.epoch == epoch:
            return  # another process of the same training
        self._end_epoch(epoch)
        again = current is not None and current.total == total == 1
        if current is None or not self._headed or (epoch == 0 and not again):
            current = Training(total, samples=self._samples)
            self.trainings.append(current)
        current.epoch = current.epoch + 1 if again and total == 1 else epoch
        self._headed = True

    def _progress(self, match: re.Match[str], text: str) -> bool:
        found = _values(text[match.end() :])
        if found is None:
            return False
        if not found or self._lost:
            return True  # of `predict`, or before the first metric, or of an unknown epoch
        done = int(match[1])
        total = None if match[2] == "Unknown" else int(match[2])
        if not self.trainings:
            self.trainings.append(Training(1, epoch=0, samples=self._samples))
        elif not self._headed and self._begins_anew(done, total, found):
            self._end_epoch()
            self.trainings[-1].epoch += 1
        if self._foreign(done, total, found):
            return True
        if text[match.end() :].startswith(" ["):
            self.trainings[-1].bracketed = True
        self._update(done, total, found, "/sample" in text)
        return True

    def _old_summary(self, text: str) -> bool:
        """Take an epoch's line of ``verbose=2`` that has no position."""
        match = _OLD.match(text)
        found = _values(text[match.end() :]) if match is not None else None
        if found is None or self._lost or self._seen:
            return match is not None
        self._seen, self._complete = found, True
        return True

    def _begins_anew(self, done: int, total: int | None, found: Mapping[str, float]) -> bool:
        """Whether a further call of ``fit`` with one epoch begins, which prints no header."""
        if not self._complete or total != self._length:
            return False
        validated = any(name.startswith("val_") for name in self._seen)
        return done < self._done or (validated and found.keys() == self._seen.keys())

    def _foreign(self, done: int, total: int | None, found: Mapping[str, float]) -> bool:
        """Whether a line is not of this epoch: an evaluation, another process, a line again."""
        if self._length is not None and total not in (None, self._length):
            return True
        if self._complete:
            # The bar is drawn once more when the validation is done.
            return not (done == self._done and found.keys() > self._seen.keys())
        return done < self._done

    def _update(self, done: int, total: int | None, found: dict[str, float], samples: bool) -> None:
        training = self.trainings[-1]
        training.samples = training.samples or samples
        again = self._complete
        self._seen, self._done = found, done
        if total is not None:
            self._length = total
            self._complete = done >= total
        training.positions[done] += 1
        if not again and not self._stopped:
            for name, value in found.items():
                if not name.startswith("val_") and name not in _OF_EPOCHS:
                    self._draw(training, name, done, value)

    def _draw(self, training: Training, name: str, done: int, value: float) -> None:
        if self._updates >= MOST_UPDATES or (
            name not in training.drawn and len(training.drawn) >= MOST_METRICS
        ):
            self.overflow = True
            return
        column = training.drawn.setdefault(name, _Column())
        column.epochs.append(training.epoch)
        column.done.append(done)
        column.values.append(value)
        self._updates += 1

    def _stop(self, batch: int) -> None:
        """Take the batch at which `TerminateOnNaN` saw the loss."""
        if not self.trainings or self._lost:
            self.undated = batch
        if not self.trainings or self._stopped or self._lost:
            return
        training = self.trainings[-1]
        column = training.drawn.get("loss")
        known = (
            column is not None
            and len(column.done) > 0
            and (column.epochs[-1] == training.epoch and column.done[-1] == batch + 1)
        )
        if not known:
            self._draw(training, "loss", batch + 1, nan)
        self._stopped = training.watched = True

    def _rate(self, epoch: int, reducing: bool, value: float) -> None:
        """Take an announced learning rate; a reduced one holds from the next epoch on."""
        if not self.trainings:
            return
        training = self.trainings[-1]
        if training.announced is None:
            training.announced = Curve("learning_rate", Counting.EPOCHS, Fidelity.PRINTED)
        training.announced.add(epoch if reducing else epoch - 1, value)

    def _end_epoch(self, following: int | None = None) -> None:
        """Keep the values of an epoch that was finished, and its length.

        An epoch of unknown length is finished if the one after it was begun.
        """
        if self.trainings and self._seen:
            training = self.trainings[-1]
            went_on = self._length is None and following == training.epoch + 1
            length = self._done if went_on else self._length
            if length:
                training.lengths[training.epoch] = length
            if self._complete or went_on:
                self._keep(training)
        self._reset()

    def _keep(self, training: Training) -> None:
        for name, value in self._seen.items():
            if name not in training.ended:
                if len(training.ended) >= MOST_METRICS:
                    self.overflow = True
                    continue
                training.ended[name] = Curve(name, Counting.EPOCHS, Fidelity.PRINTED)
            training.ended[name].add(training.epoch, value)


def _values(rest: str) -> dict[str, float] | None:
    """Return the metrics after a position, None where it is no progress bar's."""
    parts = rest.split(" - ")
    if len(parts) == 1:
        return {} if _TIMED.search(rest) else None
    found: dict[str, float] = {}
    timed = False
    for part in parts:
        match = _VALUE.match(part.strip())
        if match is not None:
            found[match[1]] = float(match[2])
        else:
            timed = timed or _TIMED.search(part) is not None
    return found if timed or parts[0] == "" else None
