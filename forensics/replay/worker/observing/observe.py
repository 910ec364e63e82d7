"""What a step looked like: layers, gradients, the batch, the configuration."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from .. import arrays
from ..case.entry import Case
from ..localising.localise import batch_rows
from ..stepping.state import METRIC, SLOT, Snapshot, State
from ..stepping.stepper import EndOfData, Stepper
from ..tracing.frames import layer_of_variable
from ..tracing.layers import activation_name, flat, keras_layers
from ..tracing.tally import SIGMOID, TANH, Tally
from ..tracing.trace import Trace

_MAX_LAYERS = 200
SATURATION = {"sigmoid": SIGMOID, "tanh": TANH, "hard_sigmoid": SIGMOID}


def layers(
    case: Case, state: State, trace: Trace, before: Snapshot, after: Snapshot
) -> List[Dict[str, Any]]:
    """One row per layer that holds weights or produced an activation, in the order of the step."""
    rows: Dict[str, Dict[str, Any]] = {}
    described = keras_layers(case)
    optimizers = {getattr(o, "name", "") for o in state.optimizers}
    for variable in state.variables:
        if variable.role in (SLOT, METRIC) or not variable.resource.dtype.is_floating:
            continue
        if variable.name.split("/")[0] in optimizers:
            continue
        name = layer_of_variable(variable.name)
        row = rows.setdefault(name, _blank(name))
        old, new = before.values.get(variable.key), after.values.get(variable.key)
        _weights(row, old, new, trace.gradients.get(variable.name))
    for path, seen in trace.activations.items():
        known = described.get(path.split("/")[-1])
        if path in rows or known is not None:
            row = rows.setdefault(path, _blank(path))
            _activation(row, seen, (known or {}).get("activation"))
    for name, row in rows.items():
        row.update(described.get(name.split("/")[-1], {}))
        _finish(row)
    called = {path: place for place, path in enumerate(trace.activations)}
    ordered = sorted(rows.values(), key=lambda row: called.get(row["name"], len(called)))
    return ordered[:_MAX_LAYERS]


def _blank(name: str) -> Dict[str, Any]:
    return {"name": name, "_g": None, "_w": 0.0, "_d": 0.0, "nan": 0, "inf": 0}


def _weights(row: Dict[str, Any], before: Any, after: Any, gradient: Optional[Tally]) -> None:
    if before is None:
        return
    value = arrays.widen(before).astype(np.float64)
    with np.errstate(all="ignore"):
        row["_w"] += float(np.square(value).sum())
        if after is not None:
            row["_d"] += float(np.square(arrays.widen(after).astype(np.float64) - value).sum())
    if gradient is not None:
        row["_g"] = (row["_g"] or 0.0) + gradient.squares
        row["nan"] += gradient.nan
        row["inf"] += gradient.inf
    if value.ndim >= 2 and "kernel_std" not in row:
        row["kernel_std"] = float(value.std())
        row["fan_in"] = int(np.prod(value.shape[:-1]))


def _activation(row: Dict[str, Any], seen: Tally, activation: Optional[str]) -> None:
    row["activation_mean"], row["activation_std"] = seen.mean, seen.std
    row["activation_max"] = seen.max_abs
    row["zero_fraction"] = seen.zero_fraction
    row["nan"] += seen.nan
    row["inf"] += seen.inf
    bounds = SATURATION.get(activation or "")
    if bounds:
        row["saturated_fraction"] = seen.beyond[bounds]


def _finish(row: Dict[str, Any]) -> None:
    gradient, weight, change = row.pop("_g"), row.pop("_w"), row.pop("_d")
    with np.errstate(all="ignore"):
        row["gradient_norm"] = None if gradient is None else float(np.sqrt(gradient))
        row["weight_norm"] = float(np.sqrt(weight)) if weight else None
        row["update_ratio"] = float(np.sqrt(change) / np.sqrt(weight)) if weight else None


def batch_parts(stepper: Stepper, step: int, first: int) -> List[Dict[str, Any]]:
    """Statistics of each part of the batch, with what the eight batches before it were like."""
    batch = stepper.batch(step)
    usual: Dict[str, List[Any]] = {}
    for earlier in range(max(first, step - 8), step):
        try:
            for name, array in arrays.leaves(stepper.batch(earlier)):
                usual.setdefault(name, []).append(array)
        except EndOfData:
            break
    rows = batch_rows(batch) or -1
    return [_part(name, array, usual.get(name, []), rows) for name, array in arrays.leaves(batch)]


def _part(name: str, array: Any, usual: List[Any], rows: int) -> Dict[str, Any]:
    stats = arrays.statistics(name, array)
    part: Dict[str, Any] = {
        "name": name,
        "stats": stats,
        "integer": array.dtype.kind in "iub",
        "usual_max_abs": max(map(arrays.max_abs, usual)) if usual else None,
        "usual_std": float(np.median([arrays.statistics(name, a)["std"] for a in usual]))
        if usual
        else None,
        "column_spread": None,
        "bad_rows": arrays.bad_rows(array, rows),
        "max_row": None,
    }
    if array.ndim >= 1 and array.shape[0] == rows and array.size and array.dtype.kind in "fiu":
        with np.errstate(all="ignore"):
            flat = np.abs(arrays.widen(array).astype(np.float64)).reshape(rows, -1)
            flat = np.where(np.isfinite(flat), flat, 0.0)
            part["max_row"] = int(flat.max(axis=1).argmax())
    if (
        array.ndim == 2
        and array.dtype.kind == "f"
        and 2 <= array.shape[1] <= 4096
        and len(array) > 1
    ):
        with np.errstate(all="ignore"):
            spread = arrays.widen(array).astype(np.float64).std(axis=0)
        spread = spread[np.isfinite(spread) & (spread > 0)]
        if spread.size > 1:
            part["column_spread"] = float(spread.max() / spread.min())
    return part


def config(case: Case, state: State, batch: Any) -> Dict[str, Any]:
    """Optimizer, loss, activations and precision; None where the case does not tell."""
    model = case.model
    found: Dict[str, Any] = {
        "optimizer": None, "learning_rate": None, "clipnorm": None, "loss": None,
        "from_logits": None, "activations": None, "last_activation": None, "output_units": None,
        "dtype_policy": None,
        "batch_size": batch_rows(batch), "jit_compile": None,
    }  # fmt: skip
    optimizer = getattr(model, "optimizer", None) or next(
        (v for v in case.restore.values() if hasattr(v, "apply_gradients")), None
    )
    if optimizer is not None:
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        found["optimizer"] = type(inner).__name__
        found["learning_rate"] = learning_rate(inner)
        for key in ("clipnorm", "global_clipnorm", "clipvalue"):
            found["clipnorm"] = found["clipnorm"] or getattr(inner, key, None)
    if model is None:
        return found
    if case.step is None:
        found["loss"], found["from_logits"] = loss_name(getattr(model, "loss", None))
        found["jit_compile"] = bool(getattr(model, "jit_compile", False) is True)
    every = flat(model)
    found["activations"] = [
        {"layer": layer.name, "activation": activation_name(layer)}
        for layer in every
        if activation_name(layer) or layer is every[-1]
    ]
    # what a last layer without an activation of its own computes, a Lambda for instance, is unknown
    if every and activation_name(every[-1]):
        found["last_activation"] = activation_name(every[-1])
        found["output_units"] = _units(model, every[-1])
    policy = getattr(model, "dtype_policy", None)
    found["dtype_policy"] = getattr(policy, "name", None)
    return found


def _units(model: Any, last: Any) -> Optional[int]:
    """Size of the output: the last layer's own, or what its activation is given."""
    own = getattr(last, "units", None) or getattr(last, "filters", None)
    if own is not None:
        return int(own)
    try:
        shape = model.output_shape
    except Exception:  # a model without a graph of layers knows no shape
        return None
    return shape[-1] if isinstance(shape, tuple) and isinstance(shape[-1], int) else None


def learning_rate(optimizer: Any) -> Optional[float]:
    """Read the current learning rate, schedules evaluated at the current iteration."""
    try:
        value = optimizer.learning_rate
        return float(np.asarray(value))
    except Exception:
        return None


def loss_name(loss: Any) -> Tuple[Optional[str], Optional[bool]]:
    """Name of a compiled loss in snake case, and its `from_logits` (None: no such option)."""
    if loss is None:
        return None, None
    if isinstance(loss, str):
        return loss, False if "crossentropy" in loss else None
    if isinstance(loss, (dict, list, tuple)):
        values = list(loss.values()) if isinstance(loss, dict) else list(loss)
        return (", ".join(str(loss_name(v)[0]) for v in values), None)
    logits = getattr(loss, "from_logits", None)
    if logits is None:
        logits = (
            getattr(loss, "_fn_kwargs", {}).get("from_logits")
            if hasattr(loss, "_fn_kwargs")
            else None
        )
    name = getattr(loss, "name", None) or getattr(loss, "__name__", None) or type(loss).__name__
    return str(name), None if logits is None else bool(logits)
