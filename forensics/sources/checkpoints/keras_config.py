"""Settings in the JSON that Keras saves with a model: read as data, no class is ever looked up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from forensics.sources.checkpoints.contents import shortest

_MAX_DEPTH = 200
_ACTIVATION_LAYERS = {
    "ELU": "elu", "LeakyReLU": "leaky_relu", "PReLU": "prelu", "ReLU": "relu", "Softmax": "softmax",
    "ThresholdedReLU": "thresholded_relu",
}  # fmt: skip
_ACTIVATION_KEYS = ("activation", "recurrent_activation")


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
        Those found of: ``optimizer`` (class name), ``learning_rate`` (of a schedule: the initial
        one) and ``learning_rate_schedule`` (class name), ``loss`` and ``loss_from_logits``,
        ``activations`` (list of ``{"layer", "activation"}``), ``dtype_policy``.
    """
    config = _mapping(model.get("config"))
    found = {
        **_compiled(_mapping(model.get("compile_config"))),
        "activations": list(_activations(model, 0)) or None,
        "dtype_policy": _named(config.get("dtype")),
    }
    return {key: value for key, value in found.items() if value is not None}


def legacy_settings(attributes: Mapping[str, str]) -> dict[str, Any]:
    """Find the settings in an ``.h5`` model's attributes; what is no JSON is left out."""
    parts: dict[str, Mapping[str, Any]] = {}
    for name in ("model_config", "training_config"):
        try:
            parts[name] = parse_json(attributes.get(name, ""))
        except ValueError:
            parts[name] = {}
    training = parts["training_config"]
    compiled = {"optimizer": training.get("optimizer_config"), "loss": training.get("loss")}
    return settings({**parts["model_config"], "compile_config": compiled})


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _compiled(compiled: Mapping[str, Any]) -> dict[str, Any]:
    optimizer = _mapping(compiled.get("optimizer"))
    options = _mapping(optimizer.get("config"))
    inner = _mapping(options.get("inner_optimizer"))
    if inner:
        optimizer, options = inner, _mapping(inner.get("config"))
    rate = options.get("learning_rate")
    schedule = _mapping(rate)
    if schedule:
        rate = _mapping(schedule.get("config")).get("initial_learning_rate")
    loss = compiled.get("loss")
    return {
        "optimizer": _text(optimizer.get("class_name")),
        "learning_rate": shortest(rate) if isinstance(rate, float) else None,
        "learning_rate_schedule": _text(schedule.get("class_name")),
        "loss": _loss_name(loss),
        "loss_from_logits": _mapping(_mapping(loss).get("config")).get("from_logits"),
    }


def _loss_name(loss: object) -> Any:
    """Name of a loss; of several outputs, a list or a mapping of names."""
    if isinstance(loss, list):
        return [_loss_name(item) for item in loss]
    if isinstance(loss, dict) and "class_name" not in loss:
        return {str(key): _loss_name(item) for key, item in loss.items()}
    return _named(loss)


def _text(value: object) -> str | None:
    # JSON can spell half a surrogate pair, UTF-8 cannot.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _named(value: object) -> str | None:
    """Name of something serialised: a plain name, a function, or a configured object."""
    serialised = _mapping(value)
    if not serialised:
        return _text(value)
    config = serialised.get("config")
    if serialised.get("class_name") in ("function", "DTypePolicy"):
        return _text(config) or _text(_mapping(config).get("name"))
    return _text(_mapping(config).get("name")) or _text(serialised.get("class_name"))


def _activations(node: object, depth: int) -> Iterator[dict[str, str]]:
    """Activation of each layer, in the order of the configuration, nested models included."""
    layer = _mapping(node)
    config = _mapping(layer.get("config"))
    if not config or depth > _MAX_DEPTH:
        return
    name = _text(config.get("name"))
    plain = _ACTIVATION_LAYERS.get(_text(layer.get("class_name")) or "")
    if name and plain:
        yield {"layer": name, "activation": plain}
    for key in _ACTIVATION_KEYS:
        activation = _named(config.get(key))
        if name and activation:
            yield {"layer": name, "activation": activation}
    layers = config.get("layers")
    inner = layers if isinstance(layers, list) else [config.get("layer"), config.get("cell")]
    for item in inner:
        yield from _activations(item, depth + 1)
