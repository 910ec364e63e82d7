"""The two bars of ``tqdm.keras.TqdmCallback``: one of epochs, and one of the batches of an epoch.

What they show are Keras' logs once the epoch, or the batch, is done [1]_; those of batches are
means over the epoch so far. Bars of batches are scaled, i.e. ``9.00/12.0``; those of loops are not.

References
----------
.. [1] tqdm 4, ``keras.py: TqdmCallback.bar2callback``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from forensics.domain.quantity import Fidelity, Quantity
from forensics.sources.logs.curve import RUNNING_MEAN, Curve
from forensics.sources.logs.tabular import Table
from forensics.sources.tags import Counting, meaning

_EPOCHS = re.compile(r"\[[^\]]{0,80}(?:epoch/s|s/epoch)")
_BATCHES = re.compile(
    r"\|\s{0,8}(\d{1,3}(?:\.\d{1,2})?)/(\d{1,3}(?:\.\d{1,2})?) \[[^\]]{0,80}(?:batch/s|s/batch)"
)

Named = Sequence[tuple[str, float]]


def counts_epochs(text: str) -> bool:
    """Whether a bar is one of epochs, by its unit."""
    return _EPOCHS.search(text) is not None


def batches_done(text: str, known: int | None = None) -> tuple[int, int] | None:
    """Return position and length of a bar of batches that is scaled, or as long as a known one."""
    match = _BATCHES.search(text)
    if match is None:
        return None
    done, total = float(match[1]), float(match[2])
    if not (total == known or any("." in group for group in match.groups())):
        return None
    whole = done == int(done) and total == int(total) and 0 < done <= total
    return (int(done), int(total)) if whole else None


class KerasBars:
    """Collects what the bars show; of several drawings of one position the last one counts."""

    def __init__(self) -> None:
        self._ended = Table(Fidelity.PRINTED, epochs_from=0)
        self._means = Table(Fidelity.RUNNING_MEAN, Counting.BATCHES_FROM_0, epochs_from=0)
        self._epoch, self._done = 0, 0
        self._drawn: tuple[int, Named] | None = None

    @property
    def length(self) -> int | None:
        """Batches of an epoch, None as long as there was no bar of them."""
        return self._means.length

    def epoch(self, done: int, values: Named) -> None:
        """Take a bar of epochs."""
        if self._drawn is not None and self._drawn[0] != done:
            self._keep()
        self._drawn = (done, values)

    def batch(self, done: int, total: int, values: Named) -> None:
        """Take a bar of batches; one that goes back is of the next epoch."""
        self._epoch += done < self._done
        if self._means.length not in (None, total) or done == self._done:
            return
        self._means.length, self._done = total, done
        self._means.add(values, done - 1, self._epoch)

    def curves(self) -> list[Curve]:
        """Return what was found."""
        self._keep()
        means = self._means.curves()
        for curve in means:
            loss = meaning(curve.tag).quantity is Quantity.TRAIN_LOSS
            curve.quantity = Quantity.TRAIN_LOSS if loss else Quantity.OTHER
            curve.tag = RUNNING_MEAN.format(curve.tag)
        return [*self._ended.curves(), *means]

    def _keep(self) -> None:
        if self._drawn is not None:
            done, values = self._drawn
            self._ended.add(values, None, done - 1)
            self._drawn = None
