"""A batch from an ``.npz`` file: one that a FlightRecorder wrote, or one of the user's own."""

from __future__ import annotations

import json
from typing import Any, Dict, List

import numpy as np

from .npz_file import BadArchive, read_npz, typed

STRUCTURE = "structure"
_TOP = ("x", "y", "sample_weight")


def read_batch(path: str) -> Any:
    """Build a batch again.

    A file without the entry ``structure`` holds dense arrays by name: ``x``, ``y`` and
    ``sample_weight``, or ``x/title`` for the part ``title`` of a dict. With other names the batch
    is a dict of them.

    Raises
    ------
    BadArchive
        When it cannot be read, or lacks what it describes.
    """
    arrays = read_npz(path)
    if STRUCTURE in arrays:
        try:
            described = json.loads(bytes(arrays[STRUCTURE].astype(np.uint8)))
            return _built(described, arrays)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise BadArchive("its description does not fit it: %r" % error) from error
    parts = _nested(arrays)
    if "x" not in parts or not set(parts) <= set(_TOP):
        return parts
    present = [name for name in _TOP if name in parts]
    if present == ["x", "sample_weight"]:
        return (parts["x"], None, parts["sample_weight"])
    return tuple(parts[name] for name in present)


def _nested(arrays: Dict[str, Any]) -> Dict[str, Any]:
    """Names with slashes to dicts in dicts."""
    nested: Dict[str, Any] = {}
    for name, array in arrays.items():
        *above, last = name.split("/")
        place = nested
        for part in above:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise BadArchive("%s is an array and has parts" % part)
        place[last] = array
    return nested


def _built(node: Any, arrays: Dict[str, Any]) -> Any:
    if node is None:
        return None
    kind = node["kind"]
    if kind == "dict":
        return {key: _built(part, arrays) for key, part in node["items"]}
    if kind in ("list", "tuple"):
        parts = [_built(part, arrays) for part in node["items"]]
        return tuple(parts) if kind == "tuple" else parts
    if kind == "plain":
        return node["value"]
    return _TENSORS[kind](node, arrays)


def _array(node: Any, arrays: Dict[str, Any]) -> Any:
    array = typed(arrays[node["name"]], node["dtype"])
    return _tensor(array) if node["tensor"] else array


def _strings(node: Any, arrays: Dict[str, Any]) -> Any:
    data = arrays[node["name"]].tobytes()
    ends = np.cumsum(arrays[node["name"] + "/lengths"]).tolist()
    parts: List[Any] = [data[a:b] for a, b in zip([0, *ends[:-1]], ends)] if ends else []
    if node["texts"]:
        parts = [part.decode("utf-8") for part in parts]
    array = np.empty(len(parts), object)
    array[:] = parts
    array = array.reshape(node["shape"])
    return _tensor(array) if node["tensor"] else array


def _ragged(node: Any, arrays: Dict[str, Any]) -> Any:
    import tensorflow as tf

    splits = [_array(part, arrays) for part in node["row_splits"]]
    return tf.RaggedTensor.from_nested_row_splits(_built(node["values"], arrays), splits)


def _sparse(node: Any, arrays: Dict[str, Any]) -> Any:
    import tensorflow as tf

    return tf.SparseTensor(
        _array(node["indices"], arrays), _built(node["values"], arrays), node["dense_shape"]
    )


_TENSORS = {"array": _array, "strings": _strings, "ragged": _ragged, "sparse": _sparse}


def _tensor(array: Any) -> Any:
    import tensorflow as tf

    return tf.constant(array)
