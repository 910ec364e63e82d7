"""Remedies of the network: activations, initial weights."""

from __future__ import annotations

import contextlib
import math
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

from .. import arrays
from ..case.entry import Case
from ..keras_family import keras_api
from ..localising.localise import batch_rows
from ..stepping.state import WEIGHT, Snapshot, State
from ..tracing.layers import activation_name, flat
from .change import Change, Unfit, replaced
from .optimizer import with_values
from .precision import models_of

RECTIFIED = ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "swish", "softplus", "mish")
BOUNDED = ("sigmoid", "tanh", "hard_sigmoid")
FACTOR = 2.0
"""Deviations of initial weights this many times off what keeps the scale of a layer are off."""


class Activations(Change):
    """Other activations in some layers."""

    def __init__(
        self, remedy: str, family: str, layers: List[Any], activation: str, what: str
    ) -> None:
        if not layers:
            raise Unfit("no layer has such an activation")
        self.remedy, self.family = remedy, family
        self.layers, self.activation = layers, activation
        self.what = what % ", ".join(layer.name for layer in layers[:4])
        if len(layers) > 4:
            self.what += " and %d more" % (len(layers) - 4)

    @contextlib.contextmanager
    def active(self) -> Iterator[List[bool]]:
        """Exchange the functions that the layers call."""
        with contextlib.ExitStack() as stack:
            for layer in self.layers:
                function = keras_api.package_of(layer).activations.get(self.activation)
                stack.enter_context(replaced(layer, activation=function))
            yield [True]


class ReluAndHe(Activations):
    """Rectified units in place of bounded ones, with the initial weights that belong to them."""

    from_built = True

    def __init__(
        self, case: Case, state: State, built: Snapshot, adam: bool = False
    ) -> None:  # fmt: skip
        hidden = hidden_layers(case, BOUNDED)
        self.model = case.model if adam and case.step is None else None
        if adam and type(getattr(self.model, "optimizer", None)).__name__ != "SGD":
            raise Unfit("the optimizer is not SGD")
        super().__init__(
            "relu_he", "activation", hidden, "relu",
            "relu and He initialisation in place of bounded activations in %s",
        )  # fmt: skip
        if self.model is not None:
            self.what += "; Adam(0.001) in place of SGD"
        names = {layer.name for layer in hidden}
        self.fresh = _fresh_kernels(case, state, built, lambda layer: layer.name in names)

    @contextlib.contextmanager
    def active(self) -> Iterator[List[bool]]:
        """Exchange the activations, and the optimizer of the second form."""
        with contextlib.ExitStack() as stack:
            used = stack.enter_context(super().active())
            if self.model is not None:
                optimizer = keras_api.package_of(self.model).optimizers.Adam(1e-3)
                optimizer.build(self.model.trainable_variables)
                stack.enter_context(replaced(self.model, optimizer=optimizer))
            yield used

    def values(self, snapshot: Snapshot) -> Snapshot:
        """Put the initial weights in."""
        return with_values(snapshot, self.fresh)


class Initialise(Change):
    """Kernels drawn anew with the deviation that keeps the scale of each layer's input."""

    remedy, family = "he_initialisation", "initialisation"
    retraces = False
    from_built = True

    def __init__(self, case: Case, state: State, built: Snapshot) -> None:
        off = [v for v in _kernels(state) if _is_off(v, built.values.get(v.key))]
        if not off:
            raise Unfit("the initial weights have a usual scale")
        known = _fan_gains(case)
        self.fresh = {v.key: _drawn(built.values[v.key], known.get(v.key, 1.0), v.key) for v in off}
        self.what = (
            "%s drawn anew with the deviation sqrt(k / fan_in), k = 2 after relu, else 1"
            % ("%d kernels" % len(off) if len(off) > 1 else off[0].name)
        )

    def values(self, snapshot: Snapshot) -> Snapshot:
        """Put the initial weights in."""
        return with_values(snapshot, self.fresh)


def hidden_layers(case: Case, activations: Tuple[str, ...]) -> List[Any]:
    """Layers before the last of each model with one of these activations."""
    found: List[Any] = []
    for model in models_of(case):
        every = [layer for layer in flat(model) if not hasattr(layer, "layers")]
        found += [
            layer
            for layer in every[:-1]
            if activation_name(layer) in activations and _exchangeable(layer)
        ]
    return found


def recurrent_layers(case: Case) -> List[Any]:
    """Cells whose state is rectified, so that it can grow from step to step."""
    cells = [
        getattr(layer, "cell", layer)
        for model in models_of(case)
        for layer in flat(model)
        if hasattr(layer, "cell") or hasattr(layer, "recurrent_activation")
    ]
    return [c for c in cells if activation_name(c) in (*RECTIFIED, "linear", "exponential")]


def last_layer(model: Any) -> Optional[Any]:
    """Last layer of a model that has an activation of its own to exchange."""
    every = [layer for layer in flat(model) if not hasattr(layer, "layers")]
    return every[-1] if every and _exchangeable(every[-1]) else None


def _exchangeable(layer: Any) -> bool:
    return callable(getattr(layer, "activation", None)) and not hasattr(layer, "cell")


def fitting_output(case: Case, batch: Any, origin: Optional[Dict[str, Any]]) -> Activations:
    """Output activation that belongs to the loss and its targets.

    One unit and targets of 0 and 1: sigmoid. Targets that are a distribution over the units, or
    class numbers: softmax. Only where the loss takes probabilities: a cross-entropy of Keras
    without `from_logits`, or a hand-written one, which shows by the logarithm that failed.
    """
    logarithm = origin is not None and "Log" in (
        origin.get("op_type"), origin.get("forward_op_type"),
    )  # fmt: skip
    for model in models_of(case):
        layer = last_layer(model)
        if layer is None:
            continue
        loss = getattr(model, "loss", None) if case.step is None else None
        if not (logarithm or _takes_probabilities(loss) or _keras_loss(origin)):
            continue
        wanted = _wanted(layer, loss, batch)
        if wanted is not None and wanted != activation_name(layer):
            what = "%s in place of %s in the last layer, %%s" % (wanted, activation_name(layer))
            return Activations("match_loss", "output", [layer], wanted, what)
    raise Unfit("the output activation belongs to the loss")


def _keras_loss(origin: Optional[Dict[str, Any]]) -> bool:
    return origin is not None and origin.get("phase") == "loss"


def _takes_probabilities(loss: Any) -> bool:
    name = str(getattr(loss, "name", None) or getattr(loss, "__name__", None) or loss)
    logits = getattr(loss, "from_logits", None)
    if logits is None:
        logits = (getattr(loss, "_fn_kwargs", None) or {}).get("from_logits")
    return "crossentropy" in name.replace("_", "").lower() and not logits


def _wanted(layer: Any, loss: Any, batch: Any) -> Optional[str]:
    units = getattr(layer, "units", None) or getattr(layer, "filters", None)
    parts = dict(arrays.leaves(batch))
    y = parts.get("y", parts.get("labels", parts.get("label", parts.get("target"))))
    if y is None or units is None or y.size == 0:
        return None
    name = str(getattr(loss, "name", None) or getattr(loss, "__name__", None) or loss)
    if units == 1:
        return "sigmoid" if _between_0_and_1(y) else None
    if "binary" in name:
        return "sigmoid"
    if y.shape[-1:] == (units,) and _between_0_and_1(y):
        sums = arrays.widen(y).astype(np.float64).reshape(-1, units).sum(axis=1)
        return "softmax" if np.allclose(sums, 1.0, atol=1e-3) else "sigmoid"
    rows = batch_rows(batch)
    whole = y.dtype.kind in "iu" or bool((y == np.floor(y)).all())
    return "softmax" if whole and y.size == rows and y.max() < units and y.min() >= 0 else None


def _between_0_and_1(array: Any) -> bool:
    if array.dtype.kind not in "fiub":
        return False
    wide = arrays.widen(array)
    return bool((wide >= 0).all() and (wide <= 1).all())


def _kernels(state: State) -> List[Any]:
    return [
        v
        for v in state.variables
        if v.role == WEIGHT and v.resource.dtype.is_floating and len(v.resource.shape) >= 2
    ]


def _fan_in(value: Any) -> int:
    return int(np.prod(value.shape[:-1]))


def _is_off(variable: Any, value: Any) -> bool:
    if value is None or _fan_in(value) < 2 or "embedding" in variable.name:
        return False
    deviation = float(np.std(arrays.widen(value).astype(np.float64)))
    usual = math.sqrt(1.0 / _fan_in(value)), math.sqrt(2.0 / _fan_in(value))
    return not usual[0] / FACTOR <= deviation <= usual[1] * FACTOR


def _fan_gains(case: Case) -> Dict[int, float]:
    """2 for the kernels of rectified layers, by the variable's key."""
    found: Dict[int, float] = {}
    for model in models_of(case):
        for layer in flat(model):
            if activation_name(layer) in RECTIFIED:
                for variable in getattr(layer, "weights", []):
                    number = getattr(getattr(getattr(variable, "_value", variable), "handle", None),
                                     "_id", None)  # fmt: skip
                    if isinstance(number, int):
                        found[number] = 2.0
    return found


def _drawn(value: Any, gain: float, seed: int) -> Any:
    generator = np.random.default_rng(seed % (1 << 32))
    deviation = math.sqrt(gain / _fan_in(value))
    drawn = np.clip(generator.normal(0.0, 1.0, value.shape), -2.0, 2.0) * deviation
    return drawn.astype(value.dtype)


def _fresh_kernels(case: Case, state: State, built: Snapshot, wanted: Any) -> Dict[int, Any]:
    """Kernels of some layers for rectified units."""
    known = {v.key: v for v in _kernels(state)}
    found: Dict[int, Any] = {}
    for model in models_of(case):
        for layer in flat(model):
            if not wanted(layer):
                continue
            for variable in getattr(layer, "weights", []):
                handle = getattr(getattr(variable, "_value", variable), "handle", None)
                key = getattr(handle, "_id", None)
                if isinstance(key, int) and key in known and key in built.values:
                    found[key] = _drawn(built.values[key], 2.0, key)
    return found
