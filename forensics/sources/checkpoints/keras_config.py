"""Settings in the JSON that Keras saves with a model: read as data, no class is ever looked up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from forensics.sources.checkpoints.contents import shortest
from forensics.sources.checkpoints.keras_layers import layer_settings
from forensics.sources.checkpoints.keras_serialised import (
    class_name,
    mapping_of,
    name_of,
    plain,
    text_of,
)
from forensics.sources.checkpoints.optimizers import optimizer_class

_MAX_METRICS = 1000
_EXECUTION = ("steps_per_execution", "jit_compile", "run_eagerly")


def parse_json(text: str | bytes) -> Mapping[str, Any]:
    """Parse a JSON object; all its numbers become floats.

    Raises
    ------
    ValueError
        It is none, or it is nested too deep.
    """
    try:
        value = json.loads(text, parse_int=float)
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("the JSON is no object")
    return value


def settings(model: Mapping[str, Any]) -> dict[str, Any]:
    """Find the settings in a ``.keras`` archive's ``config.json``.

    Returns
    -------
    dict
        Those found of: ``optimizer`` (class name) and ``optimizer_config`` (its numbers and words,
        clipping and weight decay among them), ``learning_rate`` (of a schedule: the initial one),
        ``learning_rate_schedule`` (class name) and ``learning_rate_schedule_config``,
        ``loss_scale`` (of a loss-scaling optimizer), ``loss``, ``loss_from_logits``,
        ``loss_config`` and ``loss_weights``, ``metrics``, ``steps_per_execution``, ``jit_compile``,
        ``run_eagerly``, ``activations``, ``initializers``, ``regularizers`` and ``constraints``
        (lists of ``{"layer", ...}``), ``dtype_policy`` and, of layers that have another,
        ``layer_policies``.
    """
    config = mapping_of(model.get("config"))
    policy = name_of(config.get("dtype"))
    found = {
        **_compiled(mapping_of(model.get("compile_config"))),
        **layer_settings(model, policy),
        "dtype_policy": policy,
    }
    return {key: value for key, value in found.items() if value not in (None, [], {})}


def legacy_settings(attributes: Mapping[str, str]) -> dict[str, Any]:
    """Find the settings in an ``.h5`` model's attributes.

    Raises
    ------
    ValueError
        One that is there is no JSON.
    """
    names = ("model_config", "training_config")
    parts = {name: parse_json(attributes.get(name) or "{}") for name in names}
    training = parts["training_config"]
    compiled = {**training, "optimizer": training.get("optimizer_config")}
    found = settings({**parts["model_config"], "compile_config": compiled})
    return {**found, **saved_with(attributes)}


def saved_with(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Find what a model was saved with, and when."""
    names = ("keras_version", "backend", "date_saved")
    found = {name: text_of(metadata.get(name)) for name in names}
    return {key: value for key, value in found.items() if value}


def _compiled(compiled: Mapping[str, Any]) -> dict[str, Any]:
    optimizer = mapping_of(compiled.get("optimizer"))
    options = mapping_of(optimizer.get("config"))
    inner = mapping_of(options.get("inner_optimizer"))
    scale = None
    if inner:
        scale = plain(options)
        optimizer, options = inner, mapping_of(inner.get("config"))
    rate = options.get("learning_rate", options.get("lr"))
    schedule = mapping_of(rate)
    if schedule:
        rate = mapping_of(schedule.get("config")).get("initial_learning_rate")
    loss = compiled.get("loss")
    of_loss = mapping_of(mapping_of(loss).get("config"))
    return {
        # Keras 2 keeps what was given to compile(), which may be a word.
        "optimizer": class_name(optimizer) or optimizer_class(text_of(compiled.get("optimizer"))),
        "optimizer_config": plain(options),
        "learning_rate": shortest(rate) if isinstance(rate, float) else None,
        "learning_rate_schedule": class_name(schedule),
        "learning_rate_schedule_config": plain(mapping_of(schedule.get("config"))),
        "loss_scale": scale,
        "loss": _loss_name(loss),
        "loss_from_logits": of_loss.get("from_logits"),
        "loss_config": plain(of_loss),
        "loss_weights": _weights(compiled.get("loss_weights")),
        "metrics": _metric_names(compiled.get("metrics")),
        **{key: plain(compiled).get(key) for key in _EXECUTION},
    }


def _weights(value: object) -> object:
    """Weights of losses: a number, or a list or mapping of numbers."""
    if isinstance(value, list):
        return [v for v in value if isinstance(v, float)]
    return plain(value) if isinstance(value, dict) else plain({"": value}).get("")


def _metric_names(value: object) -> list[str]:
    """Names of metrics, of all outputs one after another."""
    found: list[str] = []
    waiting = [value]
    while waiting and len(found) < _MAX_METRICS:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(reversed(item))
        elif isinstance(item, dict) and "class_name" not in item:
            waiting.extend(reversed(item.values()))
        else:
            name = name_of(item)
            found += [name] if name else []
    return found


def _loss_name(loss: object) -> Any:
    """Name of a loss; of several outputs, a list or a mapping of names."""
    if isinstance(loss, list):
        return [_loss_name(item) for item in loss]
    if isinstance(loss, dict) and "class_name" not in loss:
        return {str(key): _loss_name(item) for key, item in loss.items()}
    return name_of(loss)
