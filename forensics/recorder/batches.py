"""A batch of any structure as named arrays, and a description from which it can be built again.

Dense parts keep readable names (``x``, ``y``, ``sample_weight``, ``x/title``); the entry
``structure`` holds the description as JSON. ``forensics/replay/worker/case/batch_file.py`` reads
it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from forensics.recorder.files import as_bytes

STRUCTURE = "structure"
_TOP = ("x", "y", "sample_weight")
Arrays = dict[str, np.ndarray[Any, Any]]


class Unrecordable(Exception):
    """A part of a batch is of a type that cannot be written without pickle."""


def encode_batch(batch: Any) -> Arrays:
    """Return the arrays of a batch and their description.

    Parameters
    ----------
    batch : nested structure
        Dicts, lists, tuples, None; dense, ragged and sparse tensors, arrays, numbers, strings.

    Raises
    ------
    Unrecordable
        For anything else; the message names the part and its type.
    """
    arrays: Arrays = {}
    structure = _node(batch, "", arrays)
    arrays[STRUCTURE] = as_bytes(structure)
    return arrays


def _node(value: Any, name: str, arrays: Arrays) -> Any:
    if value is None or isinstance(value, tf.experimental.Optional):
        return None
    if isinstance(value, dict):
        items = [[_key(k, name), _node(v, _below(name, k), arrays)] for k, v in value.items()]
        return {"kind": "dict", "items": items}
    if isinstance(value, list | tuple):
        return {
            "kind": "list" if isinstance(value, list) else "tuple",
            "items": [
                _node(part, _TOP[i] if not name and len(value) <= 3 else _below(name, i), arrays)
                for i, part in enumerate(value)
            ],
        }
    name = name or "x"
    if isinstance(value, bool | int | float | str) and not isinstance(value, np.generic):
        return {"kind": "plain", "value": value}
    if isinstance(value, tf.RaggedTensor):
        splits = [_dense(s, f"{name}/row_splits_{i}", arrays) for i, s in _splits(value)]
        values = _node(value.flat_values, f"{name}/values", arrays)
        return {"kind": "ragged", "values": values, "row_splits": splits}
    if isinstance(value, tf.SparseTensor):
        return {
            "kind": "sparse",
            "indices": _dense(value.indices, f"{name}/indices", arrays),
            "values": _node(value.values, f"{name}/values", arrays),
            "dense_shape": [int(n) for n in value.dense_shape],
        }
    return _dense(value, name, arrays)


def _splits(value: Any) -> Any:
    return enumerate(value.nested_row_splits)


def _dense(value: Any, name: str, arrays: Arrays) -> Any:
    tensor = isinstance(value, tf.Tensor | tf.Variable)
    try:
        # of a tensor on the CPU this is a view; `numpy()` would copy it
        array = np.asarray(value)
    except Exception as error:
        raise Unrecordable(f"{name} is a {type(value).__name__}") from error
    while name in arrays or name == STRUCTURE:
        name += "_"
    if array.dtype.kind in "OSU":
        return _strings(array, name, arrays, tensor)
    arrays[name] = array if array.dtype.kind in "biufc" else array.view(f"u{array.itemsize}")
    return {"kind": "array", "name": name, "dtype": array.dtype.name, "tensor": tensor}


def _strings(array: np.ndarray[Any, Any], name: str, arrays: Arrays, tensor: bool) -> Any:
    """Bytes one after the other, with their lengths: fixed-width texts of NumPy lose zeros."""
    flat = array.reshape(-1).tolist()
    if not all(isinstance(part, str | bytes) for part in flat):
        raise Unrecordable(f"{name} holds Python objects")
    texts = any(isinstance(part, str) for part in flat)
    parts = [part.encode("utf-8") if isinstance(part, str) else part for part in flat]
    arrays[name] = np.frombuffer(b"".join(parts), np.uint8)
    arrays[f"{name}/lengths"] = np.array([len(part) for part in parts], np.int64)
    return {
        "kind": "strings", "name": name, "shape": list(array.shape), "tensor": tensor,
        "texts": texts,
    }  # fmt: skip


def _key(key: Any, name: str) -> Any:
    if not isinstance(key, str | int):
        raise Unrecordable(f"{name or 'the batch'} has a key of type {type(key).__name__}")
    return key


def _below(name: str, key: Any) -> str:
    return f"{name}/{key}" if name else str(key)
