"""Numbers about arrays: health bits, statistics, rows."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import numpy as np

NAN, POS, NEG = 1, 2, 4
"""Bits of `badness`."""


def is_float(array: Any) -> bool:
    """Whether the array can hold a non-finite value; bfloat16 and float8 of ml_dtypes count."""
    kind = array.dtype.kind
    return kind in "fc" or (kind == "V" and "float" in array.dtype.name)


def widen(array: Any) -> Any:
    """Convert half precision and ml_dtypes to float32, a dtype that numpy computes in."""
    if array.dtype.kind == "V" or array.dtype == np.float16:
        return array.astype(np.float32)
    return array


def badness(array: Any) -> int:
    """Tell which kinds of non-finite values the array holds, as bits; 0: none, or no float.

    A sum is finite only if every term is, and it is one vectorised pass; only when it is not (a bad
    value, or an overflow of the sum itself) the elements are looked at.
    """
    if array.size == 0 or not is_float(array):
        return 0
    with np.errstate(all="ignore"):
        if array.dtype.kind == "c":
            return badness(array.real) | badness(array.imag)
        array = widen(array)
        if np.isfinite(np.add.reduce(array, axis=None)):
            return 0
        bits = 0
        if np.isnan(array).any():
            bits |= NAN
        if np.isposinf(array).any():
            bits |= POS
        if np.isneginf(array).any():
            bits |= NEG
        return bits


def bad_mask(array: Any) -> Any:
    """Boolean mask of the non-finite elements."""
    if not is_float(array):
        return np.zeros(array.shape, bool)
    return ~np.isfinite(widen(array))


def bad_rows(array: Any, rows: int) -> List[int]:
    """Rows with a non-finite element, when the leading dimension is the batch; else nothing."""
    if array.ndim == 0 or array.shape[0] != rows:
        return []
    mask = bad_mask(array)
    return [int(i) for i in np.nonzero(mask.reshape(rows, -1).any(axis=1))[0]]


def statistics(name: str, array: Any, kind: str = "other") -> Dict[str, Any]:
    """Fields of `TensorStats`; moments over the finite elements, in float64."""
    array = np.asarray(array)
    out: Dict[str, Any] = {
        "name": name, "kind": kind, "shape": list(array.shape), "dtype": array.dtype.name,
        "count": int(array.size), "nan": 0, "pos_inf": 0, "neg_inf": 0, "zero": 0,
        "min": float("nan"), "max": float("nan"), "mean": float("nan"), "std": float("nan"),
        "l2_norm": float("nan"),
    }  # fmt: skip
    numeric = is_float(array) or array.dtype.kind in "iub"
    if not numeric or array.size == 0 or array.dtype.kind == "c":
        return out
    wide = widen(array).astype(np.float64)
    finite = wide[np.isfinite(wide)]
    out["nan"] = int(np.isnan(wide).sum())
    out["pos_inf"] = int(np.isposinf(wide).sum())
    out["neg_inf"] = int(np.isneginf(wide).sum())
    out["zero"] = int((wide == 0).sum())
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        out["min"], out["max"] = low, high
        scale = max(abs(low), abs(high)) or 1.0
        unit = finite / scale
        out["mean"] = float(unit.mean()) * scale
        out["std"] = float(unit.std()) * scale
        out["l2_norm"] = float(np.sqrt(np.square(unit).sum())) * scale
    return out


def max_abs(array: Any) -> float:
    """Largest finite magnitude; 0 for an empty or non-numeric array."""
    if array.size == 0 or not (is_float(array) or array.dtype.kind in "iub"):
        return 0.0
    wide = np.abs(widen(array).astype(np.float64))
    finite = wide[np.isfinite(wide)]
    return float(finite.max()) if finite.size else 0.0


def leaves(value: Any) -> List[Tuple[str, Any]]:
    """Named arrays of a batch; what is no array of numbers, flags or texts is left out."""
    out = []
    for name, part in named_parts(value):
        try:
            array = np.asarray(part)
        except Exception:
            continue
        if array.dtype != object:
            out.append((name, array))
    return out


def named_parts(value: Any, name: str = "") -> List[Tuple[str, Any]]:
    """Named parts of a batch: dicts by key, (x, y, sample_weight) by these names."""
    if value is None:
        return []
    if isinstance(value, dict):
        return [
            leaf
            for key, part in value.items()
            for leaf in named_parts(part, name + "/" + str(key) if name else str(key))
        ]
    if isinstance(value, (list, tuple)) and not is_plain(value):
        names = ("x", "y", "sample_weight") if not name and len(value) <= 3 else None
        out = []
        for index, part in enumerate(value):
            own = names[index] if names else (name + "/" if name else "") + str(index)
            out.extend(named_parts(part, own))
        return out
    return [(name or "x", value)]


def is_plain(value: Any) -> bool:
    """Whether it is a list of Python numbers or texts, nested or not: one part of a batch.

    Tuples have places with a meaning, such as (x, y): they are structure.
    """
    return isinstance(value, list) and all(
        isinstance(part, (bool, int, float, str, bytes)) or is_plain(part) for part in value
    )


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Nested batch with every part changed and its structure kept."""
    if value is None:
        return None
    if isinstance(value, dict):
        return {k: mapped(v, change) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and not is_plain(value):
        parts = [mapped(v, change) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return change(value)
