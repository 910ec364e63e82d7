"""After how many training steps a checkpoint was written.

In this order: a variable ``step`` or ``global_step`` in it; the number in its file name; the
optimizer's iterations (a lower bound: loss scaling skips updates); the save counter of
``tf.train.Checkpoint``. A number in a file name is a step only where nothing speaks against it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from forensics.domain.run import StepSource

_SUFFIX = re.compile(r"(\.weights)?\.(h5|hdf5|keras|json|ckpt|index)$", re.IGNORECASE)
_STEP_WORD = re.compile(
    r"(?:^|[^a-z])(?:global[-_]?step|steps?|iterations?|iters?|it|batch)[-_=. ]?(\d+)(?!\d)",
    re.IGNORECASE,
)
_STEP_FOLDER = re.compile(r"checkpoint-(\d+)")
"""What trainers of Hugging Face call a folder, by the global step."""
_EPOCH_WORD = re.compile(r"(?:^|[^a-z])(?:epochs?|ep|e)(?:[^a-z]|$)", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"(?:^|[-_=. ])(\d+)$")
_TRAILING_FLOAT = re.compile(r"\d+\.\d+$")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}|(?:^|\D)(?:19|20)\d{6}(?:\D|$)")
_MAX_STEP = 10**9
"""Larger numbers are seconds since 1970, not steps."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Integers found in a checkpoint, None where it has none."""

    step: int | None = None
    iterations: int | None = None
    save_counter: int | None = None


def step_of(path: str, counters: Counters) -> tuple[int | None, StepSource | None]:
    """Step of a checkpoint and where it is known from.

    Parameters
    ----------
    path : str
        Its path (of a bundle: its prefix), POSIX form.
    counters : Counters
        What was read in it.

    Examples
    --------
    >>> step_of("ckpt/step_000040.weights.h5", Counters(iterations=38))
    (40, <StepSource.FILE_NAME: 'file_name'>)
    >>> step_of("ckpt/ckpt-2", Counters(iterations=2000, save_counter=2))
    (2000, <StepSource.ITERATIONS: 'iterations'>)
    """
    if counters.step is not None and counters.step >= 0:
        return counters.step, StepSource.VARIABLE
    named = _named_step(path, counters)
    if named is not None:
        return named, StepSource.FILE_NAME
    if counters.iterations is not None and counters.iterations >= 0:
        return counters.iterations, StepSource.ITERATIONS
    if counters.save_counter is not None:
        return counters.save_counter, StepSource.SAVE_COUNTER
    return None, None


def _named_step(path: str, counters: Counters) -> int | None:
    parts = path.split("/")
    stem = parts[-1]
    while (shorter := _SUFFIX.sub("", stem)) != stem:
        stem = shorter
    for name in (stem, *reversed(parts[:-1])):
        if (match := _STEP_WORD.search(name)) and int(match[1]) < _MAX_STEP:
            return int(match[1])
    for name in reversed(parts[:-1]):
        if (match := _STEP_FOLDER.fullmatch(name)) and int(match[1]) < _MAX_STEP:
            return int(match[1])
    if _EPOCH_WORD.search(stem) or _TRAILING_FLOAT.search(stem) or _DATE.search(stem):
        return None
    match = _LAST_NUMBER.search(stem)
    if match is None or int(match[1]) >= _MAX_STEP:
        return None
    return int(match[1]) if _plausible(int(match[1]), counters) else None


def _plausible(number: int, counters: Counters) -> bool:
    """Whether a bare number in a file name can count steps.

    An optimizer never makes more updates than there were steps, so that a smaller number counts
    epochs or saves; and ``tf.train.CheckpointManager`` numbers its checkpoints by saves unless it
    is told a step.
    """
    if counters.iterations is None:
        return number != counters.save_counter
    if number == counters.save_counter:
        return number == counters.iterations
    return number >= counters.iterations
