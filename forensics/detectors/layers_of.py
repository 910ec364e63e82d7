"""Per-layer curves of gradient norms, kernel and bias of a layer taken together."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.run import FloatArray, IntArray, Run, Series

_VARIABLES = frozenset(
    {"kernel", "bias", "recurrent_kernel", "gamma", "beta", "embeddings", "w", "b", "weight"}
)


def layer_name(variable: str) -> str:
    """Layer of a variable's path: ``model/dense/kernel:0`` is of ``model/dense``."""
    parts = variable.split("/")
    if len(parts) > 1 and parts[-1].split(":")[0].lower() in _VARIABLES:
        return "/".join(parts[:-1])
    return variable


def layer_gradients(run: Run) -> tuple[IntArray, dict[str, FloatArray]]:
    """Return the steps and, per layer, the largest norm of its variables at each step.

    Only series on the batch axis that share their steps with the longest one; NaN is kept. Empty
    when fewer than two layers were logged.
    """
    found = [
        s for s in run.of(Quantity.GRADIENT_NORM, StepAxis.BATCH) if s.layer is not None and len(s)
    ]
    if not found:
        return np.empty(0, np.int64), {}
    steps = found[0].steps
    grouped: dict[str, list[Series]] = defaultdict(list)
    for series in found:
        if np.array_equal(series.steps, steps) and series.layer is not None:
            grouped[layer_name(series.layer)].append(series)
    layers = {
        name: np.max(np.stack([s.values for s in members]), axis=0)
        for name, members in grouped.items()
    }
    return steps, layers if len(layers) > 1 else {}


def layer_series(run: Run, layer: str) -> Series:
    """Return one logged series of a layer, to stand as evidence."""
    return next(
        s
        for s in run.of(Quantity.GRADIENT_NORM, StepAxis.BATCH)
        if s.layer is not None and layer_name(s.layer) == layer
    )


def improvement(loss: FloatArray) -> float:
    """Share of its early level that a loss has lost: 1 - last third over first third (medians).

    0 for a flat loss, negative for a rising one, NaN without six finite points.
    """
    finite = loss[np.isfinite(loss)]
    if len(finite) < 6:
        return float("nan")
    third = len(finite) // 3
    first, last = float(np.median(finite[:third])), float(np.median(finite[-third:]))
    return (first - last) / abs(first) if first else 0.0
