"""Loss, gradient norms, learning rate and loss scale, measured inside the training step.

A callback never sees a gradient. While a run is recorded, `apply` and `scale_loss` of the optimizer
are shadowed by functions of the same effect that also write what they see to variables of the
recorder. These belong to no model and no optimizer: nothing more is saved or loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_SERIAL, _HAS_LOSS, _LOSS, _RATE, _SCALE, _NORMS = 0, 1, 2, 3, 4, 5
_ABSENT = -1.0
"""Stands for a rate, a scale or a norm that there is none of; all others are at least 0."""
_TURN = 1e6
"""Where the serial number of a reading starts again: float32 counts exactly to 16.7 million."""


class Readings:
    """Hooks one optimizer.

    Parameters
    ----------
    optimizer : keras.optimizers.Optimizer
        What is hooked.
    compiled : bool
        Whether the step is compiled by XLA, which cannot add up the repeated rows of a sparse
        gradient without making it dense.
    """

    def __init__(self, optimizer: Any, compiled: bool = False) -> None:
        self._optimizer, self._compiled = optimizer, compiled
        self._values: Any = None
        self._paths: list[str] = []
        self._layers: dict[str, list[int]] = {}
        self._serial = _ABSENT
        self._scaled: Any = None
        self._own: dict[str, Callable[..., Any]] = {}

    def attach(self) -> None:
        """Shadow the methods; a step that was traced before does not notice."""
        present = vars(self._optimizer)
        for name, shadow in (("apply", self._apply), ("scale_loss", self._scale_loss)):
            standing = getattr(present.get(name), "__self__", None)
            if isinstance(standing, Readings):
                standing.detach()
            if hasattr(self._optimizer, name):
                self._own[name] = getattr(self._optimizer, name)
                # past `__setattr__`, which would make it a part of what is saved
                present[name] = shadow

    def detach(self) -> None:
        """Take the shadows away."""
        present = vars(self._optimizer)
        for name in self._own:
            if getattr(present.get(name), "__self__", None) is self:
                del present[name]
        self._own.clear()

    def scalars(self) -> dict[str, float]:
        """Return what the last update measured; empty when there was none since the last call."""
        if self._values is None:
            return {}
        values = np.asarray(self._values.read_value()).tolist()
        if values[_SERIAL] == self._serial:
            return {}
        self._serial = values[_SERIAL]
        found = {"learning_rate": values[_RATE], "loss_scale": values[_SCALE]}
        found = {name: value for name, value in found.items() if value != _ABSENT}
        if values[_HAS_LOSS]:
            found["loss"] = values[_LOSS]
        norms = values[_NORMS:]
        found["gradient_norm"] = _joined(norms)
        for layer, places in self._layers.items():
            own = [norms[place] for place in places]
            if any(norm != _ABSENT for norm in own):
                found[f"gradient_norm/{layer}"] = _joined(own)
        return found

    # -- inside the step
    def _scale_loss(self, loss: Any) -> Any:
        self._scaled = loss
        return self._own["scale_loss"](loss)

    def _apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> Any:
        grads = list(grads)
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
        self._measure(grads, trainable_variables or self._optimizer._trainable_variables)
        return self._own["apply"](grads, trainable_variables)

    def _measure(self, grads: list[Any], variables: Sequence[Any]) -> None:
        paths = [getattr(v, "path", None) or v.name for v in variables]
        if self._values is None or paths != self._paths:
            self._paths, self._layers = paths, _by_layer(paths)
            with tf.init_scope():
                self._values = tf.Variable(
                    np.full(_NORMS + len(paths), _ABSENT, np.float32),
                    trainable=False, name="flight_readings",
                )  # fmt: skip
        scale = _loss_scale(self._optimizer)
        norms = norms_of(grads, self._compiled) / (1.0 if scale is None else scale)
        absent = tf.constant([g is None for g in grads])
        serial = tf.math.floormod(self._values[_SERIAL] + 1.0, _TURN)
        rate, loss = _rate(self._optimizer), self._loss_here()
        head = tf.stack([serial, *loss, rate, _ABSENT if scale is None else scale])
        self._values.assign(tf.concat([head, tf.where(absent, _ABSENT, norms)], 0))

    def _loss_here(self) -> tuple[float, Any]:
        """Whether the loss of this step went through `scale_loss`, and the loss.

        A tensor of another graph cannot be used in this one.
        """
        loss, self._scaled = self._scaled, None
        here = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        if loss is None or (here is None) == tf.is_symbolic_tensor(loss):
            return 0.0, 0.0
        if here is not None and loss.graph is not here:
            return 0.0, 0.0
        return 1.0, tf.reduce_mean(tf.cast(loss, tf.float32))


def norms_of(grads: Sequence[Any], compiled: bool = False) -> Any:
    """L2 norm of each gradient in float32; 0 for None.

    Squares of finite gradients may overflow; only then the norms are computed in float64.
    """
    dense = [tf.zeros([1]) if g is None else _dense(g, compiled) for g in grads]
    halves = tf.stack([tf.nn.l2_loss(tf.cast(g, tf.float32)) for g in dense])

    def wide() -> Any:
        squares = [tf.reduce_sum(tf.square(tf.cast(g, tf.float64))) for g in dense]
        return tf.cast(tf.sqrt(tf.stack(squares)), tf.float32)

    return tf.cond(tf.reduce_all(tf.math.is_finite(halves)), lambda: tf.sqrt(2.0 * halves), wide)


def _dense(grad: Any, compiled: bool) -> Any:
    """Rows of a sparse gradient, each once: rows that are looked up twice add up."""
    if not isinstance(grad, tf.IndexedSlices):
        return grad
    if compiled:
        return tf.convert_to_tensor(grad)
    rows, place = tf.unique(grad.indices)
    return tf.math.unsorted_segment_sum(grad.values, place, tf.size(rows))


def _loss_scale(optimizer: Any) -> Any:
    """Return what the loss was multiplied by; a dynamic scale has no variable until it is built."""
    scale = getattr(optimizer, "dynamic_scale", getattr(optimizer, "initial_scale", None))
    if scale is None:
        scale = getattr(optimizer, "loss_scale_factor", None)
    return None if scale is None else tf.cast(tf.convert_to_tensor(scale), tf.float32)


def _rate(optimizer: Any) -> Any:
    """Return the rate of this very update: schedules are at the iteration before it."""
    try:
        return tf.cast(tf.convert_to_tensor(optimizer.learning_rate), tf.float32)
    except Exception:  # a rate of the user's own that is no number inside a graph
        return _ABSENT


def _joined(norms: list[float]) -> float:
    """Norm of all gradients together; squares of finite float32 fit into float64."""
    return math.sqrt(sum(norm * norm for norm in norms if norm != _ABSENT))


def _by_layer(paths: list[str]) -> dict[str, list[int]]:
    """Places of the variables of each layer: the path of a variable without its last part."""
    layers: dict[str, list[int]] = {}
    for place, path in enumerate(paths):
        layers.setdefault(path.rpartition("/")[0] or path, []).append(place)
    return layers
