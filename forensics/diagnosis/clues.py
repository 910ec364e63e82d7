"""One thing that speaks for or against causes, read from a replay or from findings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Sign(StrEnum):
    """What a clue says; the catalogue holds how much it weighs for each cause."""

    # The replay: where the first bad value was made, and how.
    INPUT_NON_FINITE = "input_non_finite"
    LABEL_RANGE = "label_range"
    RAISED = "raised"
    STATE_BAD = "state_bad"
    HALF_RANGE = "half_range"
    HALF_ROUNDING = "half_rounding"
    HALF_DOMAIN = "half_domain"
    DOMAIN_LAYER = "domain_layer"
    DOMAIN_LOSS = "domain_loss"
    DOMAIN_BACKWARD = "domain_backward"
    DOMAIN_OPTIMIZER = "domain_optimizer"
    GROWTH_FIRST_STEP = "growth_first_step"
    GROWTH_LATER = "growth_later"
    OPTIMIZER_OVERFLOW = "optimizer_overflow"
    BATCH_OUTLIER = "batch_outlier"
    NOT_NORMALISED = "not_normalised"
    # The trials, read together with the mechanism.
    RATE_FIXES_GROWTH = "rate_fixes_growth"
    RATE_DELAYS = "rate_delays"
    RATE_NO_HELP = "rate_no_help"
    CLIP_FIXES_GROWTH = "clip_fixes_growth"
    CLIP_NO_HELP = "clip_no_help"
    FIX_BY_CHANCE = "fix_by_chance"
    SMALLER_STEPS_LEARN = "smaller_steps_learn"
    NOT_REPRODUCED = "not_reproduced"
    # The op run again elsewhere.
    KERNEL_WRONG = "kernel_wrong"
    KERNEL_UNSTEADY = "kernel_unsteady"
    # Structure and weights.
    MISMATCH = "mismatch"
    WIDE_KERNELS = "wide_kernels"
    HALF_POLICY = "half_policy"
    # Curves and checkpoints.
    SUDDEN = "sudden"
    AT_ONCE = "at_once"
    RECOVERS = "recovers"
    GRADIENT_NAN_FIRST = "gradient_nan_first"
    LOSS_NAN_ALONE = "loss_nan_alone"
    HUGE_AT_START = "huge_at_start"
    INF_FIRST = "inf_first"
    GROWN_GRADIENTS = "grown_gradients"
    JUMPED_GRADIENTS = "jumped_gradients"
    GROWN_LOSS = "grown_loss"
    DIVERGED = "diverged"
    ROSE = "rose"
    RATE_ROSE = "rate_rose"
    RATE_LARGE = "rate_large"
    RATE_TINY = "rate_tiny"
    VANISHING = "vanishing"
    DEAD = "dead"
    SPIKE_BEFORE_DEATH = "spike_before_death"
    SATURATED = "saturated"
    STALLED = "stalled"
    COLLAPSED = "collapsed"
    OSCILLATES = "oscillates"
    IMPLAUSIBLE_FIRST_LOSS = "implausible_first_loss"
    SLOTS_FIRST = "slots_first"
    SCALE_COLLAPSED = "scale_collapsed"


SHAPES = frozenset(
    {
        Sign.SUDDEN, Sign.AT_ONCE, Sign.RECOVERS, Sign.INF_FIRST, Sign.GRADIENT_NAN_FIRST,
        Sign.LOSS_NAN_ALONE, Sign.HALF_POLICY,
    }
)  # fmt: skip
"""How a curve looked when it broke: a hint as long as the op that broke it is unknown."""


@dataclass(frozen=True, slots=True)
class Clue:
    """A sign with the sentence that says what was seen.

    Parameters
    ----------
    sign : Sign
        What kind of thing it is; the catalogue weighs it.
    text : str
        What was seen, a clause without a full stop.
    codes : tuple of str
        Codes of the findings it was read from; empty when it comes from the replay alone.
    """

    sign: Sign
    text: str
    codes: tuple[str, ...] = ()


def unique(clues: Iterable[Clue]) -> tuple[Clue, ...]:
    """Return each sign once, so that the same evidence does not count twice; codes are joined."""
    found: dict[Sign, Clue] = {}
    for clue in clues:
        known = found.get(clue.sign)
        if known is None:
            found[clue.sign] = clue
        else:
            codes = tuple(dict.fromkeys((*known.codes, *clue.codes)))
            found[clue.sign] = Clue(clue.sign, known.text, codes)
    return tuple(found.values())
