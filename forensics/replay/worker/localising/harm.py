"""Which of the bad values that nothing is seen to take make the step fail all the same."""

from __future__ import annotations

from typing import Callable, FrozenSet, List

from ..tracing import frames
from ..tracing.records import NONE, OpRecord

_MAX_SINGLE = 6


def hidden_causes(suspects: List[int], cures: Callable[[FrozenSet[int]], bool]) -> FrozenSet[int]:
    """Births without which the step is well, found by patching them: few, and as early as can be.

    Values are laundered (`max_pool(NaN)` is finite, sigmoid makes an Inf finite), so following them
    is not enough. All suspects are patched at once; when that cures the step, the shortest run of
    them that still does is found by halving, and then thinned.

    Parameters
    ----------
    suspects : list of int
        Births in the order of the step.
    cures : callable
        Whether the step is well with these births made finite.
    """
    if not suspects or not cures(frozenset(suspects)):
        return NONE
    low, high = 1, len(suspects)
    while low < high:
        middle = (low + high) // 2
        if cures(frozenset(suspects[:middle])):
            high = middle
        else:
            low = middle + 1
    needed = suspects[low - 1]
    if low == 1 or cures(frozenset((needed,))):
        return frozenset((needed,))
    kept = frozenset(suspects[:low])
    for one in suspects[: min(low - 1, _MAX_SINGLE)]:
        if cures(kept - {one}):
            kept = kept - {one}
    return kept


def why_benign(record: OpRecord) -> str:
    """Say why a bad value did no harm."""
    if record.phase == frames.METRIC:
        return "it reaches a metric only"
    if record.phase == frames.OPTIMIZER:
        return "no variable takes the value (a skipped or masked update)"
    return "neither the loss nor a variable takes the value (masked or cut off)"
