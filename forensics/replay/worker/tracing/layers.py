"""The Keras layers of a case, by the names that ops carry."""

from __future__ import annotations

import contextlib
import re
from typing import Any, Dict, Iterable, List, Optional

from ..case.entry import Case


def keras_layers(case: Case) -> Dict[str, Dict[str, Any]]:
    """Class and activation of every Keras layer by its name."""
    found: Dict[str, Dict[str, Any]] = {}
    for model in _models(case):
        for layer in every_layer(model):
            found[layer.name] = {"kind": type(layer).__name__, "activation": activation_name(layer)}
    return found


def _models(case: Case) -> List[Any]:
    candidates = [case.model, *case.restore.values()]
    # by identity: variables answer `==` element by element
    return list({id(m): m for m in candidates if hasattr(m, "layers")}.values())


def flat(model: Any) -> List[Any]:
    """Every layer below a model, outermost first."""
    out: List[Any] = []
    for layer in getattr(model, "layers", []):
        out.append(layer)
        out.extend(flat(layer))
    return out


def every_layer(model: Any) -> List[Any]:
    """Every layer below a model, also those that layers keep to themselves (cells, projections)."""
    inner = getattr(model, "_flatten_layers", None)
    if inner is not None:
        with contextlib.suppress(Exception):  # private: its arguments may change
            return list(inner(include_self=False, recursive=True))
    return flat(model)


def activation_name(layer: Any) -> Optional[str]:
    """Name of a layer's activation function; `linear` when it has none but could."""
    kind = type(layer).__name__
    if kind in ("ReLU", "LeakyReLU", "ELU", "PReLU", "Softmax"):
        return kind.lower()
    activation = getattr(layer, "activation", None)
    if activation is None:
        return None
    name = getattr(activation, "__name__", None) or type(activation).__name__.lower()
    return str(name)


def layer_of_scope(case: Case, scopes: Iterable[str]) -> Optional[str]:
    """Path of the layers among the name scopes of a graph op.

    Tracing numbers scopes (`dense` becomes `dense_1`, `dense_1` becomes `dense_1_1`); only names
    that a layer or model of the case has are kept.
    """
    known = {*keras_layers(case), *(m.name for m in _models(case) if hasattr(m, "name"))}
    found = []
    for scope in scopes:
        plain = re.sub(r"_\d+$", "", scope)
        name = next((n for n in (scope, plain) if n in known), None)
        if name is not None:
            found.append(name)
    return "/".join(found) or None
