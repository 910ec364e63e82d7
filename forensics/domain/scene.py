"""What a detector looks at: the run, and after a replay also what the replay saw."""

from __future__ import annotations

from dataclasses import dataclass

from forensics.domain.replay import ReplayResult, StepObservation
from forensics.domain.run import Run


@dataclass(frozen=True, slots=True)
class Scene:
    """A finished run, with the replay's answer once there is one."""

    run: Run
    replay: ReplayResult | None = None

    @property
    def observation(self) -> StepObservation | None:
        """The replayed step as it was observed, None before or without a replay."""
        return self.replay.observation if self.replay is not None else None
