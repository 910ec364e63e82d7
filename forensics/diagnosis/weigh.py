"""Clues to ranked confidences: additive in log odds, normalised over the causes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from forensics.diagnosis.catalogue import CATALOGUE, Entry
from forensics.diagnosis.clues import Clue
from forensics.domain.diagnosis import Cause

FLOOR = 0.25
"""Confidence below which a cause is no answer: `unknown` is put before it."""
CEILING = 0.97
"""No confidence is higher: the evidence is about one run and the weights are hand-made."""
SHOWN = 0.02
"""Confidence below which a cause is not listed."""
MOST = 6
"""Causes that are listed at most."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """A cause with its confidence and the clues for and against it, strongest first."""

    cause: Cause
    confidence: float
    supporting: tuple[Clue, ...]
    contradicting: tuple[Clue, ...]


def weigh(
    clues: Sequence[Clue], catalogue: Mapping[Cause, Entry] = CATALOGUE
) -> tuple[Weighed, ...]:
    """Rank the causes.

    The score of a cause is the logarithm of its prior plus the weights of the clues; confidences
    are the scores' softmax over all causes, `unknown` included, so that they sum to at most 1 and
    rival causes share what is left. They rank; how often they are right is to be measured (the
    report's ``confidence_basis`` stays null until then).

    Returns
    -------
    tuple of Weighed
        Most likely first, never empty. `unknown` leads when no cause reaches `FLOOR`; behind a
        cause it is not listed.
    """
    scores = {
        cause: math.log(entry.prior) + sum(entry.weights.get(c.sign, 0.0) for c in clues)
        for cause, entry in catalogue.items()
        if entry.prior > 0
    }
    top = max(scores.values())
    total = sum(math.exp(s - top) for s in scores.values())
    ranked = sorted(
        (_weighed(c, math.exp(s - top) / total, clues, catalogue[c]) for c, s in scores.items()),
        key=lambda w: -w.confidence,
    )
    known = [w for w in ranked if w.cause is not Cause.UNKNOWN]
    # A cause nothing speaks for is no answer, however common it is.
    named = [w for w in known if w.supporting and w.confidence >= SHOWN]
    if named and named[0].confidence >= FLOOR:
        return tuple(named[:MOST])
    # What no listed cause claims.
    left = max(round(1.0 - sum(w.confidence for w in named[: MOST - 1]), 3), SHOWN)
    unknown = next(w for w in ranked if w.cause is Cause.UNKNOWN)
    return (replace(unknown, confidence=min(left, CEILING)), *named[: MOST - 1])


def _weighed(cause: Cause, share: float, clues: Sequence[Clue], entry: Entry) -> Weighed:
    def weight(clue: Clue) -> float:
        return entry.weights.get(clue.sign, 0.0)

    return Weighed(
        cause,
        round(min(share, CEILING), 3),
        tuple(sorted((c for c in clues if weight(c) > 0), key=lambda c: -weight(c))),
        tuple(sorted((c for c in clues if weight(c) < 0), key=weight)),
    )
