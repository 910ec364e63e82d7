"""What the arrays of an Orbax checkpoint are for, told by their place in the tree.

Keras saves ``trainable_variables``, ``non_trainable_variables``, ``optimizer_variables`` and
``metrics_variables``; Flax's ``TrainState`` has ``params``, ``opt_state`` and ``step``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from forensics.domain.run import TensorKind, TensorStats
from forensics.sources.checkpoints.contents import Contents, single_float, single_integer
from forensics.sources.checkpoints.optimizers import optimizer_class
from forensics.sources.checkpoints.steps import Counters

_METRICS = frozenset({"metrics_variables", "metrics"})
_OPTIMIZER = frozenset({"optimizer_variables", "opt_state", "optimizer", "optimizer_state", "opt"})
_RANDOM = re.compile(r"(^|_)(rng|rngs|seed|seed_generator|prng_key|key|dropout_key)(_|$)")
_ITERATIONS = frozenset({"iteration", "iterations", "count"})
_STEPS = frozenset({"step", "global_step"})
_LEARNING_RATE = "learning_rate"


@dataclass(frozen=True, slots=True)
class TreeMeaning:
    """Judges statistics by the names of arrays.

    Parameters
    ----------
    config : dict
        Settings that were found in texts; they count more than names do.
    record : callable
        Called with the contents, to record what was read.
    """

    config: Mapping[str, Any]
    record: Callable[[Contents], None]

    def __call__(self, contents: Contents) -> None:
        """Give every array its kind, and find counters and settings."""
        contents.tensors[:] = [replace(t, kind=_kind(t)) for t in contents.tensors]
        contents.counters = _counters(contents.tensors)
        contents.config = {**_named(contents.tensors), **self.config}
        self.record(contents)


def _kind(stats: TensorStats) -> TensorKind:
    path = stats.name.split("/")
    if _METRICS & set(path[:-1]):
        return TensorKind.METRIC
    if _is_counter(stats) or path[-1] == _LEARNING_RATE or any(map(_RANDOM.search, path)):
        return TensorKind.OTHER
    return TensorKind.SLOT if _OPTIMIZER & set(path) else TensorKind.WEIGHT


def _is_counter(stats: TensorStats) -> bool:
    return single_integer(stats) is not None


def _counters(tensors: list[TensorStats]) -> Counters:
    steps, counts = [], []
    for stats in tensors:
        path, value = stats.name.split("/"), single_integer(stats)
        if value is None:
            continue
        if path[-1] in _STEPS and not _OPTIMIZER & set(path):
            steps.append(value)
        elif path[-1] in _ITERATIONS and _OPTIMIZER & set(path):
            counts.append(value)
    return Counters(step=min(steps, default=None), iterations=min(counts, default=None))


def _named(tensors: list[TensorStats]) -> dict[str, Any]:
    """Optimizer and learning rate as Keras names its variables: ``.../adam/learning_rate``."""
    found: dict[str, Any] = {}
    for stats in tensors:
        path = stats.name.split("/")
        if path[-1] == _LEARNING_RATE and "optimizer_variables" in path[:-2]:
            found["optimizer"] = optimizer_class(path[-2])
            found[_LEARNING_RATE] = single_float(stats)
    return {key: value for key, value in found.items() if value is not None}
