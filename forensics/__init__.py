"""Why a TensorFlow/Keras training run went wrong, after the fact.

The public names are loaded when they are first used, so that importing the package costs nothing
and a training program that only needs `ReplayCase` never loads the analysis. This file and
`forensics/replay/case.py` keep to the syntax of Python 3.9: a replay may run under the interpreter
the run was trained with.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from forensics.pipeline import analyze as analyze
    from forensics.recorder import FlightRecorder as FlightRecorder
    from forensics.replay.case import ReplayCase as ReplayCase
    from forensics.sources.logdir import read as read

__all__ = ["FlightRecorder", "ReplayCase", "__version__", "analyze", "read"]

_HOMES = {
    "analyze": "forensics.pipeline",
    "read": "forensics.sources.logdir",
    "ReplayCase": "forensics.replay.case",
    "FlightRecorder": "forensics.recorder",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'forensics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
