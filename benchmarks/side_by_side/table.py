"""Targets and whether they were reached: one line each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A figure to reach: at least `least`, or at most `most`; neither: it is only told."""

    name: str
    unit: str = "x"
    least: float | None = None
    most: float | None = None

    def line(self, value: float | None, note: str = "") -> str:
        """The target beside what was measured; None: `note` says why it was not."""
        if self.least is not None:
            bound = f">= {self.least:g} {self.unit}"
            reached = value is not None and value >= self.least
        elif self.most is not None:
            bound = f"<= {self.most:g} {self.unit}"
            reached = value is not None and value <= self.most
        else:
            bound, reached = "told", True
        verdict = "not measured" if value is None else "ok" if reached else "MISSED"
        shown = "-" if value is None else f"{value:.3g} {self.unit}"
        return f"  {self.name:58s} {shown:>12s}  {bound:>12s}  {verdict:12s} {note}".rstrip()


def heading(title: str) -> str:
    """First lines of a set's results."""
    return f"\n{title}\n" + "-" * len(title)
