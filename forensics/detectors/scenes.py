"""Builders of small scenes, for the examples of the detectors and for tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.replay import (
    BatchPart,
    LayerObservation,
    Origin,
    Phase,
    ReplayResult,
    ReplayStatus,
    StepObservation,
)
from forensics.domain.run import (
    CheckpointFormat,
    CheckpointStats,
    CheckpointStatus,
    Run,
    Series,
    StepSource,
    TensorKind,
    TensorStats,
)
from forensics.domain.scene import Scene


def curve(
    values: Sequence[float] | np.ndarray[Any, Any],
    quantity: Quantity = Quantity.TRAIN_LOSS,
    tag: str | None = None,
    *,
    layer: str | None = None,
    axis: StepAxis = StepAxis.BATCH,
    start: int = 0,
) -> Series:
    """One series logged at every step from ``start`` on, one second apart."""
    array = np.asarray(values, dtype=np.float64).copy()
    steps = np.arange(start, start + len(array), dtype=np.int64)
    name = tag or (f"{quantity.value}/{layer}" if layer else quantity.value)
    return Series(quantity, name, ".", axis, steps, array, steps.astype(np.float64), layer)


def falling(n: int, first: float = 2.0, last: float = 0.5, noise: float = 0.03) -> list[float]:
    """Return a loss as healthy runs show it: exponential fall with relative noise, seeded."""
    spread = np.random.default_rng(n).normal(0.0, noise, n)
    level = last + (first - last) * np.exp(-np.arange(n) / max(n / 4, 1))
    return [float(v) for v in level * (1 + spread)]


def tensor(
    name: str,
    kind: TensorKind = TensorKind.WEIGHT,
    shape: tuple[int, ...] = (4,),
    *,
    nan: int = 0,
    pos_inf: int = 0,
    neg_inf: int = 0,
    zero: int = 0,
    low: float = -1.0,
    high: float = 1.0,
    std: float = 0.5,
    dtype: str = "float32",
) -> TensorStats:
    """Statistics of one tensor."""
    count = math.prod(shape)
    finite = count - nan - pos_inf - neg_inf
    if finite <= 0:
        low = high = std = math.nan
    middle = (low + high) / 2
    return TensorStats(
        name, kind, shape, dtype, count, nan, pos_inf, neg_inf, zero, low, high, middle, std,
        std * math.sqrt(max(finite, 0)),
    )  # fmt: skip


def checkpoint(step: int | None, *tensors: TensorStats) -> CheckpointStats:
    """Return a checkpoint that holds the state after ``step`` steps."""
    bad = any(t.bad and t.kind is not TensorKind.METRIC for t in tensors)
    return CheckpointStats(
        path=f"ckpt-{step}",
        format=CheckpointFormat.TENSOR_BUNDLE,
        step=step,
        step_source=None if step is None else StepSource.FILE_NAME,
        tensors=tensors or (tensor("dense/kernel"),),
        status=CheckpointStatus.POISONED if bad else CheckpointStatus.CLEAN,
    )


def run_of(
    *series: Series,
    checkpoints: Sequence[CheckpointStats] = (),
    config: Mapping[str, Any] | None = None,
) -> Run:
    """Return a run of these series."""
    return Run("example", ".", series, tuple(checkpoints), dict(config or {}))


def logged(*series: Series, **found: Any) -> Scene:
    """Return a scene before any replay."""
    return Scene(run_of(*series, **found))


def origin(op_type: str | None = "Log", **fields: Any) -> Origin:
    """Return an origin: by default a forward op outside every layer, float32."""
    known: dict[str, Any] = {
        "op_type": op_type,
        "op_name": op_type,
        "output_slot": 0,
        "dtype": "float32",
        "shape": (4,),
        "layer": None,
        "phase": Phase.FORWARD,
    }
    return Origin(**(known | fields))


def replayed(
    run: Run | None = None,
    *,
    step: int = 7,
    origin: Origin | None = None,
    layers: Sequence[LayerObservation] = (),
    batch: Sequence[BatchPart] = (),
    first: bool = False,
    config: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Scene:
    """Return a scene after a replay that observed ``step``."""
    known: dict[str, Any] = {
        "status": ReplayStatus.REPRODUCED,
        "reason": "",
        "step": step,
        "origin": origin,
        "observation": StepObservation(step, None, tuple(layers), tuple(batch), first),
        "config": dict(config or {}),
    }
    return Scene(run or run_of(curve(falling(step + 1))), ReplayResult(**(known | fields)))


def part(
    name: str = "x",
    *,
    largest: float = 3.0,
    smallest: float | None = None,
    shape: tuple[int, ...] = (4, 2),
    integer: bool = False,
    nan: int = 0,
    **fields: Any,
) -> BatchPart:
    """Return one part of a batch from ``smallest`` (default: -``largest``) to ``largest``."""
    low = -largest if smallest is None else smallest
    stats = tensor(name, TensorKind.OTHER, shape, nan=nan, low=low, high=largest, std=largest / 3)
    return BatchPart(name, stats, integer, **fields)
