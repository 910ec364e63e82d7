"""Optimizer state in an HDF5 file of a whole model (`model.save("x.h5")`).

`load_weights` reads the layers of such a file and leaves the optimizer as it is.
"""

from __future__ import annotations

from typing import Any, List

from ..keras_family import keras_api


def load_optimizer(path: str, optimizer: Any) -> bool:
    """Load the optimizer's variables; False when the file holds none or others.

    The file lists them in the optimizer's own order, iterations first.
    """
    values = _values(path)
    if not values:
        return False
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if hasattr(inner, "set_weights"):
        try:
            inner.set_weights(values)
        except ValueError:
            return False
        return True
    held = keras_api.optimizer_variables(inner)
    for start in range(len(held) - len(values) + 1):
        # Keras 3 keeps the learning rate among them, Keras 2 did not
        places = [v for i, v in enumerate(held) if i != start] if _one_more(held, values) else held
        if [tuple(v.shape) for v in places] == [tuple(v.shape) for v in values]:
            for place, value in zip(places, values):
                place.assign(value)
            return True
    return False


def _one_more(held: List[Any], values: List[Any]) -> bool:
    return len(held) == len(values) + 1


def _values(path: str) -> List[Any]:
    import h5py

    with h5py.File(path, "r") as file:
        if "optimizer_weights" not in file:
            return []
        group = file["optimizer_weights"]
        return [group[name][()] for name in group.attrs.get("weight_names", ())]
