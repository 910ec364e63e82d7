"""Smaller operands that fail the same way.

Nothing is known here of what an op means. Axes of equal length are shrunk together (they are the
same axis as far as the op is concerned, or the attempt fails and is dropped), every attempt is run,
and only what fails as reported is kept.
"""

from __future__ import annotations

import time
from typing import Any, Callable, FrozenSet, List, Sequence, Tuple

import numpy as np

from .. import arrays

Group = FrozenSet[Tuple[int, int]]
"""Axes (operand, axis) that are shrunk together."""
MAX_ATTEMPTS = 400
"""Runs of the op; most ops need 10 to 40."""


class Shrinker:
    """Reduces operands while a condition holds.

    Parameters
    ----------
    holds : callable
        Takes operands; whether they fail as reported.
    original : list of array
        What is reduced: no candidate may hold other kinds of bad values than these.
    pointing : list of int
        Operands that hold indices into others: an axis is shrunk only together with theirs, so
        that no index that was valid ceases to be.
    deadline : float
        `time.monotonic()` at which to stop.
    """

    def __init__(
        self, holds: Callable[[List[Any]], bool], original: Sequence[Any], pointing: Sequence[int],
        deadline: float,
    ) -> None:  # fmt: skip
        self._holds, self._pointing, self._deadline = holds, pointing, deadline
        self._allowed = [arrays.badness(v) for v in original]
        self.attempts = 0

    def holds(self, values: List[Any]) -> bool:
        """Run one attempt; False when the time or the number of attempts is used up."""
        if self.attempts >= MAX_ATTEMPTS or time.monotonic() > self._deadline:
            return False
        if any(arrays.badness(v) & ~bits for v, bits in zip(values, self._allowed)):
            return False
        self.attempts += 1
        return self._holds(values)

    def shrink(self, values: List[Any], hint: Tuple[int, ...], out: Tuple[int, ...]) -> List[Any]:
        """Shrink every axis as far as it goes.

        Parameters
        ----------
        values : list of array
            The operands.
        hint, out : tuple of int
            Place of a bad element in the output, and the output's shape.
        """
        for _ in range(3):
            before = [v.shape for v in values]
            for group in self._groups(values):
                values = self._axis(values, group, hint, out)
            if [v.shape for v in values] == before:
                break
        return self._flat(values)

    def _groups(self, values: List[Any]) -> List[Group]:
        axes = [(i, a, n) for i, v in enumerate(values) for a, n in enumerate(v.shape) if n > 1]
        ranks = [v.ndim for v in values]
        found: List[Group] = []
        keys: List[Callable[[int, int, int], Any]] = [
            lambda i, a, n: n,
            lambda i, a, n: ("from the left", a, n),
            lambda i, a, n: ("from the right", ranks[i] - a, n),
            lambda i, a, n: (i, a),
        ]
        for key in keys:
            bins: dict[Any, List[Tuple[int, int]]] = {}
            for i, a, n in axes:
                bins.setdefault(key(i, a, n), []).append((i, a))
            found += [g for g in map(frozenset, bins.values()) if g not in found]
        return [g for g in found if self._whole(values, g)]

    def _whole(self, values: List[Any], group: Group) -> bool:
        """Whether every operand that points into others takes part."""
        return all(any(i == p for i, _ in group) for p in self._pointing if values[p].ndim)

    def _axis(
        self, values: List[Any], group: Group, hint: Tuple[int, ...], out: Tuple[int, ...]
    ) -> List[Any]:
        lengths = {values[i].shape[a] for i, a in group if a < values[i].ndim}
        if len(lengths) != 1:
            return values
        length = lengths.pop()
        # the bad element's own place on an axis of this length, if the output has one
        keep = list(range(length))
        for place in (p for p, n in zip(hint, out) if n == length and p < length):
            if self.holds(_taken(values, group, [place])):
                return _taken(values, group, [place])
        kept = self._halved(values, group, keep)
        return values if len(kept) == length else _taken(values, group, kept)

    def _halved(self, values: List[Any], group: Group, keep: List[int]) -> List[int]:
        """Ddmin over the places of an axis: halves first, then ever smaller parts left out."""
        parts = 2
        while len(keep) > 1:
            chunk = -(-len(keep) // parts)
            chunks = [keep[i : i + chunk] for i in range(0, len(keep), chunk)]
            rests = [[p for p in keep if p not in c] for c in chunks] if len(chunks) > 2 else []
            for smaller in [*chunks, *rests]:
                if smaller and self.holds(_taken(values, group, smaller)):
                    keep, parts = smaller, 2
                    break
            else:
                if parts >= min(len(keep), 16):
                    break
                parts = min(2 * parts, len(keep))
        return keep

    def _flat(self, values: List[Any]) -> List[Any]:
        """Take scalars instead of arrays of one element, where the op lets them."""
        scalars = [v.reshape(()) if v.size == 1 else v for v in values]
        if any(v.ndim for v in values) and all(v.size == 1 for v in values) and self.holds(scalars):
            return scalars
        return values


def _taken(values: List[Any], group: Group, keep: List[int]) -> List[Any]:
    smaller = list(values)
    for i, a in group:
        smaller[i] = np.take(smaller[i], keep, axis=a)
    return smaller
