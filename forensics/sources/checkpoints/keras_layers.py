"""What the configuration of a Keras model says of its layers, read as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from forensics.sources.checkpoints.keras_serialised import (
    class_name,
    mapping_of,
    name_of,
    plain,
    text_of,
)

_MAX_DEPTH = 200
_ACTIVATION_LAYERS = {
    "ELU": "elu", "LeakyReLU": "leaky_relu", "PReLU": "prelu", "ReLU": "relu", "Softmax": "softmax",
    "ThresholdedReLU": "thresholded_relu",
}  # fmt: skip
_ACTIVATION_KEYS = ("activation", "recurrent_activation")
_WRAPPED = ("layer", "backward_layer", "cell")
_PARTS = {"initializer": "initializers", "regularizer": "regularizers", "constraint": "constraints"}


def layer_settings(model: Mapping[str, Any], policy: str | None) -> dict[str, list[Any]]:
    """Find what layers were set to, in the order of the configuration, nested models included.

    Parameters
    ----------
    policy : str or None
        Dtype policy of the model: layers are listed that have another.

    Returns
    -------
    dict
        ``activations``, ``initializers``, ``regularizers``, ``constraints``, ``layer_policies``.
    """
    found: dict[str, list[Any]] = {"activations": [], "layer_policies": []}
    found |= {key: [] for key in _PARTS.values()}
    for kind, config in _layers(model):
        name = text_of(config.get("name"))
        if not name:
            continue
        found["activations"] += [
            {"layer": name, "activation": activation} for activation in _activations(kind, config)
        ]
        for part, key in _PARTS.items():
            found[key] += [{"layer": name, **item} for item in _parts(config, part)]
        # Of an input it is the dtype of the data.
        own = None if kind == "InputLayer" else name_of(config.get("dtype"))
        if policy and own and own != policy:
            found["layer_policies"].append({"layer": name, "dtype_policy": own})
    return found


def _layers(model: object) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """Class and configuration of a model and everything in it, from the outside in."""
    waiting = [(model, 0)]
    while waiting:
        node, depth = waiting.pop()
        config = mapping_of(mapping_of(node).get("config"))
        if not config or depth > _MAX_DEPTH:
            continue
        yield text_of(mapping_of(node).get("class_name")), config
        inner = [config.get(key) for key in _WRAPPED]
        for key in ("layers", "cells"):
            listed = config.get(key)
            inner += listed if isinstance(listed, list) else []
        waiting.extend((item, depth + 1) for item in reversed(inner))


def _activations(kind: str | None, config: Mapping[str, Any]) -> Iterator[str]:
    plain_layer = _ACTIVATION_LAYERS.get(kind or "")
    if plain_layer:
        yield plain_layer
    for key in _ACTIVATION_KEYS:
        activation = name_of(config.get(key))
        if activation:
            yield activation


def _parts(config: Mapping[str, Any], part: str) -> Iterator[dict[str, Any]]:
    """Find initialisers and the like of one layer: of which weight, which class, its numbers."""
    for key, value in config.items():
        weight, _, ending = key.rpartition("_")
        if ending != part:
            continue
        named = class_name(mapping_of(value)) or text_of(value)
        weight_name = text_of(weight)
        if named and weight_name:
            options = plain(mapping_of(mapping_of(value).get("config")))
            yield {"weight": weight_name, part: named, **options}
