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
from collections.abc import Mapping
from math import nan

from forensics.sources.logs.keras_training import Training
from forensics.sources.logs.numbers import NUMBER

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
MOST_UPDATES = 2_000_000
"""Redrawings of metrics that are kept: those after them are not."""


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
        room = self._updates < MOST_UPDATES and training.draw(name, done, value)
        self._updates += 1
        self.overflow = self.overflow or not room

    def _stop(self, batch: int) -> None:
        """Take the batch at which `TerminateOnNaN` saw the loss."""
        if not self.trainings or self._lost:
            self.undated = batch
        if not self.trainings or self._stopped or self._lost:
            return
        training = self.trainings[-1]
        if not training.was_drawn("loss", batch + 1):
            self._draw(training, "loss", batch + 1, nan)
        self._stopped = training.watched = True

    def _rate(self, epoch: int, reducing: bool, value: float) -> None:
        """Take an announced learning rate; a reduced one holds from the next epoch on."""
        if self.trainings:
            self.trainings[-1].announce(epoch if reducing else epoch - 1, value)

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
                self.overflow = not training.end_epoch(self._seen) or self.overflow
        self._reset()


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
