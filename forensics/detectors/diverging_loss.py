"""LOS001: the loss rises and does not come back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from forensics.detectors.base import LOSS_LINE, Example
from forensics.detectors.curves import curve_evidence, loss_onset
from forensics.detectors.scenes import curve, falling, logged
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import Quantity
from forensics.domain.run import FloatArray, Series
from forensics.domain.scene import Scene
from forensics.signals import Onset

STALLED_KINDS = frozenset({"plateau", "oscillation", "variance_rise", "gradient_collapse"})
"""Kinds of onset that are no rise of the loss; LOS002 reports them."""
_NO_RISE = STALLED_KINDS | {"non_finite"}


@dataclass(frozen=True)
class DivergingLoss:
    """The training loss leaves its course upwards and stays there.

    **Why it is bad.** A loss that rises for good undoes what was learnt; no NaN is needed for a run
    to be lost.

    **What it says.** The onset comes from the change-point analysis of the loss and the gradient
    norm, which ignores rises that recover. The size is the lasting level after the onset over the
    lowest lasting level before it: a rise of `severe` and more is an error, less is a warning. The
    rise of a part (a KL term that is annealed, a generator's loss) is only noted where no total
    was logged: parts may rise while their sum falls.

    Parameters
    ----------
    severe : float
        Lasting rise, x the lowest lasting level before, from which it is an error; default 10.
    window : int
        Points whose median counts as a lasting level, default 5.

    References
    ----------
    .. [1] Braiek and Khomh, "TheDeepChecker", TOSEM 2022: diverging when the loss is at least twice
       its best value over a window of 5.
    """

    severe: float = 10.0
    window: int = 5

    code: ClassVar[str] = "LOS001"
    name: ClassVar[str] = "diverging-loss"
    requires: ClassVar[tuple[str, ...]] = (Quantity.TRAIN_LOSS,)
    needs_replay: ClassVar[bool] = False

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report a lasting rise of the training loss."""
        loss, onset = scene.run.train_loss, loss_onset(scene.run)
        if loss is None or onset is None:
            yield NotChecked(
                self.code, "no training loss of two points", (Quantity.TRAIN_LOSS,), LOSS_LINE
            )
            return
        if not onset.failed or onset.onset is None or onset.kind in _NO_RISE:
            return
        rise = self._rise(loss.values, onset.onset)
        if rise is not None:
            found = self._finding(loss, onset, onset.onset, rise)
            yield noted_as_part(found) if scene.run.train_loss_is_part else found

    def _rise(self, values: FloatArray, onset: int) -> float | None:
        """Lasting level after over the lowest before; None without finite points after."""
        after = values[onset:][np.isfinite(values[onset:])]
        if not len(after):
            return None
        early = values[:onset][np.isfinite(values[:onset])]
        low = lowest_level(early, self.window) if len(early) else float(after[0])
        # The level that lasts, or the peak of a run that broke off while it rose.
        high = float(np.median(after)) if len(after) > self.window else float(np.max(after))
        if low > 0:
            return high / low
        return float("inf") if high > 0 else None

    def _finding(self, loss: Series, onset: Onset, index: int, rise: float) -> Finding:
        step = int(loss.steps[index])
        low, high = onset.interval if onset.interval is not None else (index, index)
        last = len(loss) - 1
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR if rise >= self.severe else Severity.WARNING,
            summary=(
                f"the loss `{loss.tag}` rises from {loss.step_axis.value} {step} on and stays "
                f"{rise:.3g} times above its best level ({onset.kind})"
            ),
            onset_step=step,
            onset_interval=(int(loss.steps[max(low, 0)]), int(loss.steps[min(high, last)])),
            step_axis=loss.step_axis,
            evidence=(
                curve_evidence(loss, index, last, rise, self.severe, "x the best lasting level"),
            ),
            p_value=onset.p_value,
            score=onset.effect,
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Show a blow-up out of a falling loss; the falling loss alone."""
        calm = falling(80, noise=0.01)
        blown = [*calm, *[0.5 * 3.0 ** (k + 1) for k in range(12)], *[2e5] * 20]
        return (
            Example("a blow-up at step 80", logged(curve(blown)), 80, Severity.ERROR),
            Example(
                "a generator's loss that rises, without a total",
                logged(curve(blown, tag="generator_loss")),
                80,
                Severity.INFO,
            ),
            Example("a falling loss", logged(curve(falling(120)))),
        )


def noted_as_part(found: Finding) -> Finding:
    """Lower a finding on the loss to a note: the curve is a part, the total was not logged."""
    summary = f"{found.summary}; it is a part, the total loss was not logged"
    return replace(found, severity=Severity.INFO, summary=summary)


def lowest_level(values: FloatArray, window: int) -> float:
    """Smallest running median over ``window`` points (over all when there are fewer)."""
    if len(values) <= window:
        return float(np.median(values))
    frames = np.lib.stride_tricks.sliding_window_view(values, window)
    return float(np.min(np.median(frames, axis=1)))
