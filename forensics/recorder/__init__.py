"""FlightRecorder: keep the last batches and a recent state of a training run, for a later replay.

``analyze`` never needs it: it makes a replay exact where the data is shuffled and no checkpoint is
near.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forensics.recorder.flight_recorder import FlightRecorder as FlightRecorder

__all__ = ["FlightRecorder"]


def __getattr__(name: str) -> Any:
    """Import TensorFlow only with the recorder itself."""
    if name == "FlightRecorder":
        from forensics.recorder.flight_recorder import FlightRecorder

        return FlightRecorder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
