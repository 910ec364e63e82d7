"""Lines that training loops print: a step or an epoch, and named numbers.

Loops print what their authors liked, so only lines that leave no doubt are taken: a word for the
step or epoch with a number behind it, and names with numbers behind them, one of which is a loss.
Lines of TensorFlow's Estimator (``loss = 2.3, step = 100 (0.5 sec)``) [1]_, dictionaries as the
Hugging Face trainer prints them (``{'loss': 2.3, 'epoch': 0.1}``) and tqdm's bars with a postfix
(``Epoch 3:  45%|####  | 45/100 [00:12<00:15, 3.65it/s, loss=2.31]``) [2]_ are such lines.

References
----------
.. [1] TensorFlow 2.15, ``basic_session_run_hooks.py`` (`LoggingTensorHook`, `NanTensorHook`) and
   ``estimator.py`` (``Saving dict for global step``).
.. [2] tqdm, ``std.py: tqdm.format_meter``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from math import nan

from forensics.domain.quantity import Fidelity, Quantity
from forensics.sources.logs.curve import Curve
from forensics.sources.logs.keras_bars import KerasBars, batches_done, counts_epochs
from forensics.sources.logs.numbers import NUMBER, step_of
from forensics.sources.logs.tabular import Table
from forensics.sources.tags import Counting, meaning

_SPLIT = "train(?:ing)?|val(?:id(?:ation)?)?|test|eval(?:uation)?|dev"
_TWO_WORDS = re.compile(rf"\b({_SPLIT}) (loss|acc(?:uracy)?|error|perplexity)\b", re.IGNORECASE)
_PAIR = re.compile(
    r"(?<![\w./\-])([a-z_][\w./]{0,63}+)['\"]?\s{0,4}[:=]?\s{0,8}(?>['\"]|tf\.tensor\(|tensor\()?+("
    + NUMBER
    + r")(?:(?<=nan|inf)\.0)?+(?![\w/%\-])(?!\.\w)",
    re.IGNORECASE,
)
"""A name and a number; Lightning's bars give every number a point, which makes ``nan.0``."""
_STEP = re.compile(
    r"(?<![a-z])(global[_ ]step|step|iteration|iter|batch)(?:es|s)?['\"]?\]?\s{0,4}[:=#\[(]?\s{0,8}"
    r"(\d{1,16}+)(?!\.?\d)(?:\s?/\s?(\d{1,16}+))?",
    re.IGNORECASE,
)
_EPOCH = re.compile(
    r"(?<![a-z])epoch['\"]?\]?\s{0,4}[:=#\[(]?\s{0,8}['\"]?(\d{1,9}+(?:\.\d{1,20}+)?)"
    r"(?:\s?/\s?\d{1,9})?",
    re.IGNORECASE,
)
_IMAGENET = re.compile(r"epoch:?\s?\[(\d{1,9})\]\s?\[\s{0,9}(\d{1,12})/(\d{1,12})\]", re.IGNORECASE)
_AT_STEP = re.compile(r"at step \d{1,16}+: (" + NUMBER + r")(?![\w.])", re.IGNORECASE)
_LOSS_BEFORE = re.compile(rf"\b((?:{_SPLIT})_)?loss\b", re.IGNORECASE)
_BAR = re.compile(
    r"\s{0,8}([^%|\[]{0,120}?)\s?\d{1,3}%\|[^|]{0,400}\|\s{0,8}(\d{1,12})/(\d{1,12}) \["
)
_NOT_TRAINING = re.compile(r"valid|eval|test|sanity|predict|download|map:|generat", re.IGNORECASE)
_DIVERGED = "Model diverged with loss = NaN"
_EVALUATED = "Saving dict for global step "
_NUMBERS = re.compile(NUMBER, re.IGNORECASE)
MOST_ROWS = 1_000_000
"""Lines of one process that are kept."""
_ALIKE = 3
"""Lines that differ in their numbers only: as many of a loop are no prose."""
_MOST_SHAPES = 1_000


class LoopLines:
    """Follows what a loop prints, line by line.

    Parameters
    ----------
    perhaps : bool
        Whether the lines may be prose ("at step 200 the loss was nan"): then they count only if
        several are alike.
    """

    def __init__(self, *, perhaps: bool = False) -> None:
        self._doubtful = perhaps
        self._shapes: Counter[str] = Counter()
        self._lines = Table(Fidelity.PRINTED)
        self._bars = Table(Fidelity.PRINTED, Counting.BATCHES_FROM_0)
        self._keras = KerasBars()
        self._bar_length: int | None = None
        self._bar_epoch, self._bar_done = 0, -1
        self._bar_epochs_said = False
        self._drawn: tuple[list[tuple[str, float]], tuple[int, float]] | None = None
        self._epoch: float | None = None
        self._lengths: set[int] = set()
        self._mixed_bars = False
        self._rows = 0
        self.overflow = False

    def line(self, text: str) -> None:
        """Take a line."""
        low = text.lower()
        if "loss" not in low:
            self._context(text, low)
            return
        if _DIVERGED in text:
            self._diverge()
            return
        if self._rows >= MOST_ROWS:
            self.overflow = True
            return
        bar = _BAR.match(text)
        if self._keras_bar(bar, text):
            self._rows += 1
        elif bar is not None:
            self._bar(bar, text)
        elif "train_runtime" not in low:
            self._plain(text)

    def curves(self) -> list[Curve]:
        """Return what was found."""
        self._keep_drawn()
        self._lines.length = self._lengths.pop() if len(self._lengths) == 1 else None
        # Old Lightning counted the batches of the validation too.
        self._bars.length = None if self._mixed_bars else self._bar_length
        self._bars.steps_are_dense = not self._mixed_bars
        return [
            *(() if self._doubtful else self._lines.curves()),
            *self._keras.curves(),
            *self._bars.curves(),
        ]

    def _count_alike(self, text: str) -> None:
        """Note the words of a line: those of a loop come again and again."""
        shape = _NUMBERS.sub("#", text)
        if shape in self._shapes or len(self._shapes) < _MOST_SHAPES:
            self._shapes[shape] += 1
            self._doubtful = self._shapes[shape] < _ALIKE

    def _context(self, text: str, low: str) -> None:
        """Remember the epoch that a line of its own announces."""
        if "epoch" in low and len(text) < 200 and "|" not in text:
            found = _EPOCH.search(text)
            if found is not None:
                self._epoch = float(found[1])
        elif low.startswith("validating:"):
            self._mixed_bars = True

    def _keep_drawn(self) -> None:
        if self._drawn is not None:
            values, (step, epoch) = self._drawn
            self._rows += 1
            self._bars.add(values, step, epoch)
            self._drawn = None

    def _diverge(self) -> None:
        """Take the line with which an Estimator stops, or goes on, at a NaN loss.

        It has no step. The loss is printed every so many steps, so it was NaN at the next one that
        was to be printed, or earlier: that is where the point is put, as any printed one would be.
        """
        points = self._lines.columns.get("loss")
        if points is None or len(points.steps) < 2:
            return
        spacing = points.steps[-1] - points.steps[-2]
        if spacing > 0:
            self._lines.add([("loss", nan)], points.steps[-1] + spacing)

    def _plain(self, text: str) -> None:
        text = _TWO_WORDS.sub(r"\1_\2", text)
        step, epoch = self._where(text)
        if step is None and epoch is None:
            return
        values = list(_at_step(text)) or list(_measured(text))
        if not any("loss" in name.lower() for name, _ in values):
            return
        if _EVALUATED in text:
            values = [(f"eval_{name}", value) for name, value in values]
        if self._doubtful:
            self._count_alike(text)
        self._rows += 1
        self._lines.add(values, step, self._epoch if epoch is None else epoch)

    def _where(self, text: str) -> tuple[int | None, float | None]:
        """Return step and epoch that a line tells."""
        image = _IMAGENET.search(text)
        if image is not None:
            self._lengths.add(int(image[3]))
            return int(image[2]), float(image[1])
        step = _STEP.search(text)
        epoch = _EPOCH.search(text)
        if step is not None and step[3] is not None and epoch is not None:
            self._lengths.add(int(step[3]))
        return (
            step_of(float(step[2])) if step is not None else None,
            float(epoch[1]) if epoch is not None else None,
        )

    def _keras_bar(self, bar: re.Match[str] | None, text: str) -> bool:
        """Take a bar of ``tqdm.keras``, if it is one."""
        if "%|" not in text:
            return False
        batches = batches_done(text, self._keras.length)
        if bar is not None and counts_epochs(text) and int(bar[2]) > 0:
            self._keras.epoch(int(bar[2]), list(_measured(text[bar.end() :])))
        elif batches is not None:
            self._keras.batch(*batches, list(_measured(text.rpartition("[")[2])))
        else:
            return False
        return True

    def _bar(self, bar: re.Match[str], text: str) -> None:
        """Take a bar of tqdm: the position counts batches that are done.

        Whoever calls ``set_postfix`` in the loop shows the loss of a batch before it is counted,
        others after it. So the batch may be the one that is counted or the one after; it is taken
        for the latter, and of several drawings of one position the last one counts.
        """
        title, done, total = bar[1], int(bar[2]), int(bar[3])
        if _NOT_TRAINING.search(title) or not 0 < done <= total:
            return
        if self._bar_length is None:
            self._bar_length = total
        said = _EPOCH.search(title)
        if said is not None:
            self._bar_epochs_said = True
            epoch = float(said[1])
        elif total != self._bar_length or self._bar_epochs_said:
            return
        else:
            self._bar_epoch += done < self._bar_done
            epoch = float(self._bar_epoch)
        if total != self._bar_length:
            self._mixed_bars = True
        self._bar_done = done
        values = list(_measured(text[bar.end() :]))
        if any("loss" in name.lower() for name, _ in values):
            place = (min(done, total - 1), epoch)
            if self._drawn is not None and self._drawn[1] != place:
                self._keep_drawn()
            self._drawn = (values, place)


def _at_step(text: str) -> Iterator[tuple[str, float]]:
    """Values of ``Training loss (for one batch) at step 200: 1.1`` (Keras' guide to own loops)."""
    match = _AT_STEP.search(text)
    named = _LOSS_BEFORE.search(text[: match.start()]) if match is not None else None
    if match is not None and named is not None:
        yield named[0], float(match[1])


@lru_cache(maxsize=4096)
def _is_measured(name: str) -> bool:
    return meaning(name).quantity is not Quantity.OTHER


def _measured(text: str) -> Iterator[tuple[str, float]]:
    """Named numbers that are a loss, norm, rate or metric; the first of each name."""
    seen: set[str] = set()
    for match in _PAIR.finditer(text):
        name = match[1].rstrip("._/")
        if name not in seen and _is_measured(name) and len(seen) < 100:
            seen.add(name)
            yield name, float(match[2])
