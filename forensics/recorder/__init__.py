"""FlightRecorder: keep the last batches and a recent state of a training run, for a later replay.

``analyze`` never needs it: it makes a replay exact where the data is shuffled and no checkpoint is
near.
"""

from forensics.recorder.flight_recorder import FlightRecorder

__all__ = ["FlightRecorder"]
