"""Every variable that a step reads, as arrays: weights, seeds, slots, loss scale, metrics.

The entry ``index`` describes the arrays ``0``, ``1``, ...: which watched object each belongs to,
its path, role and dtype. ``forensics/replay/worker/case/recorded.py`` and
``forensics/sources/checkpoints/recorded_state.py`` read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from forensics.recorder.files import as_bytes

INDEX = "index"
GLOBAL_SEED = "global seed"
Array = np.ndarray[Any, Any]


def encode_state(watched: Mapping[str, Any], step: int) -> tuple[dict[str, Array], str | None]:
    """Copy the values of all variables of the watched objects before a step.

    Returns
    -------
    arrays : dict of str to array
        Values and their index.
    bad : str or None
        Path of a weight or slot that is not finite.
    """
    arrays: dict[str, Array] = {}
    index: list[dict[str, Any]] = []
    bad = None
    for owner, role, place, variable in variables_of(watched):
        value = _value(variable)
        if value.dtype.hasobject:
            continue
        path = str(getattr(variable, "path", None) or variable.name)
        if bad is None and role != "metric" and not _finite(value):
            bad = path
        raw = value if value.dtype.kind in "biufc" else value.view(f"u{value.itemsize}")
        arrays[str(len(index))] = raw
        index.append(
            {"owner": owner, "role": role, "place": place, "path": path, "dtype": value.dtype.name}
        )
    arrays[INDEX] = as_bytes({"step": step, "variables": index})
    return arrays, bad


def variables_of(watched: Mapping[str, Any]) -> Iterator[tuple[str, str, int, Any]]:
    """Owner, role, place in the owner's list, and variable.

    ``model.variables`` leaves out the metrics, whose values a step reads too.
    """
    for owner, given in watched.items():
        thing = given.state if isinstance(given, tf.random.Generator) else given
        if hasattr(thing, "numpy"):
            yield owner, "weight", 0, thing
        elif hasattr(thing, "apply_gradients"):
            yield from ((owner, "slot", i, v) for i, v in enumerate(_listed(thing)))
        else:
            yield from ((owner, "weight", i, v) for i, v in enumerate(_listed(thing)))
            metrics = getattr(thing, "metrics_variables", [])
            yield from ((owner, "metric", i, v) for i, v in enumerate(metrics))
    seed = _global_seed()
    if seed is not None:
        yield GLOBAL_SEED, "weight", 0, seed


def _value(variable: Any) -> Array:
    """Return the value as a view where there can be one, good until the file is written."""
    held = variable.value
    held = held() if callable(held) else held
    return np.asarray(held.read_value() if hasattr(held, "read_value") else held)


def _finite(value: Array) -> bool:
    """Whether all elements are finite: a sum is only if every term is, and it needs no copy."""
    if value.dtype.kind != "f" and "float" not in value.dtype.name:
        return True
    with np.errstate(all="ignore"):
        wide = value if value.dtype.kind == "f" else value.astype(np.float32)
        return bool(np.isfinite(wide.sum()) or np.isfinite(wide).all())


def _listed(thing: Any) -> list[Any]:
    found = getattr(thing, "variables", [])
    return list(found() if callable(found) else found)


def _global_seed() -> Any:
    """State of the generator that layers without a seed of their own draw from, once it exists."""
    try:
        from keras.src.backend.common import global_state

        generator = global_state.get_global_attribute("global_seed_generator")
        return None if generator is None else generator.state
    except Exception:  # a private place; without it such layers are not exact
        return None
