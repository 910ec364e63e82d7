"""What the tests of the replay share: the worker in this process sees its own program only."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from forensics.replay.sandbox import child


class Clock:
    """Time as the parent of a replay sees it: it goes on as usual until `passed` says otherwise.

    Attributes
    ----------
    passed : callable
        Whether every deadline has passed. A test sets it to what its program does last, so that
        a slow machine only takes longer.
    """

    def __init__(self) -> None:
        self.passed: Callable[[], bool] = lambda: False

    def monotonic(self) -> float:
        """Seconds, far ahead once the deadlines have passed."""
        return time.monotonic() + (1e9 if self.passed() else 0.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Put a clock in the hands of the test."""
    clock = Clock()
    monkeypatch.setattr(child, "time", clock)
    return clock


@pytest.fixture(scope="module", autouse=True)
def programs_of_other_modules_are_not_found() -> Iterator[None]:
    """Hide what other test modules left alive.

    A worker of its own has one program; it takes every living variable for a part of it.
    """
    if "tensorflow" not in sys.modules:
        yield
        return
    from forensics.replay.worker.stepping import state

    gc.collect()
    found = state._living
    everything: dict[str, tuple[type, ...]] = {"any": _types()}
    # kept, so that no new object can take the place of an old one
    known = {id(thing): thing for thing in found(everything)["any"]}

    def only_new(wanted: dict[str, tuple[type, ...]]) -> dict[str, list[Any]]:
        return {
            name: [thing for thing in things if id(thing) not in known]
            for name, things in found(wanted).items()
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "_living", only_new)
        yield


def _types() -> tuple[type, ...]:
    from tensorflow.python.ops.resource_variable_ops import BaseResourceVariable

    from forensics.replay.worker.keras_family import keras_api

    kinds = (keras_api.metric_types(), keras_api.optimizer_types(), keras_api.variable_types())
    return (BaseResourceVariable, *(kind for group in kinds for kind in group))
