"""Which names say where a row belongs: the step, the epoch, the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan

from forensics.sources.logs.numbers import step_of

STEP_NAMES = (
    "step", "global_step", "steps", "global step", "_step", "iteration", "iter", "iterations",
    "train/global_step", "trainer/global_step", "batch_step", "n_iter", "it", "batch",
)  # fmt: skip
EPOCH_NAMES = ("epoch", "epochs")
TIME_NAMES = ("wall_time", "wall time", "timestamp", "_timestamp")


@dataclass(frozen=True, slots=True)
class Axes:
    """Which columns of a header say where a row belongs.

    Attributes
    ----------
    step, epoch, time : str or None
        Names as written.
    """

    step: str | None = None
    epoch: str | None = None
    time: str | None = None

    @classmethod
    def among(cls, names: Iterable[str]) -> Axes:
        """Find them; names are compared without regard to case."""
        lower: dict[str, str] = {}
        for name in names:
            lower.setdefault(name.strip().lower(), name)
        found = [
            next((lower[n] for n in known if n in lower), None)
            for known in (STEP_NAMES, EPOCH_NAMES, TIME_NAMES)
        ]
        return cls(*found)

    @property
    def known(self) -> bool:
        """Whether rows can be placed."""
        return self.step is not None or self.epoch is not None

    def split(
        self, row: Mapping[str, float]
    ) -> tuple[list[tuple[str, float]], int | None, float | None, float]:
        """Return values, step, epoch and time of a row."""
        own = (self.step, self.epoch, self.time)
        values = [(name, value) for name, value in row.items() if name not in own]
        step = step_of(row.get(self.step)) if self.step is not None else None
        epoch = row.get(self.epoch) if self.epoch is not None else None
        time = row.get(self.time, nan) if self.time is not None else nan
        return values, step, epoch, time
