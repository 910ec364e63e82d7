"""Put a trace on every op of a step, and hooks where the loss and the gradients pass."""

from __future__ import annotations

import contextlib
from typing import Any, Iterable, Iterator, Tuple

import numpy as np

from . import keras_api
from .in_threads import heard_in_threads
from .state import path_of
from .trace import Trace, value_of


@contextlib.contextmanager
def listening(trace: Trace) -> Iterator[None]:
    """Put the trace's callback on every op, and hooks on tapes and optimizers, within the block."""
    import tensorflow as tf
    from tensorflow.python.framework import op_callbacks

    gradient = tf.GradientTape.gradient

    def hooked(self: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
        trace.loss_target(target, "the differentiated loss")
        return gradient(self, target, *args, **kwargs)

    restore = _hook_optimizers(trace)
    tf.GradientTape.gradient = hooked
    op_callbacks.add_op_callback(trace)
    try:
        with np.errstate(all="ignore"), heard_in_threads(trace):
            yield
    finally:
        op_callbacks.remove_op_callback(trace)
        tf.GradientTape.gradient = gradient
        restore()


def _hook_optimizers(trace: Trace) -> Any:
    """Keep the gradients that reach an optimizer (the innermost, after loss scaling is undone)."""
    places = {
        (kind, keras_api.gradient_method(optimizer))
        for optimizer in trace.state.optimizers
        for kind in type(optimizer).__mro__
        if keras_api.gradient_method(optimizer) in vars(kind) and "keras" in kind.__module__
    }
    originals = [(kind, name, vars(kind)[name]) for kind, name in places]
    wrappers = {"apply": _apply, "apply_gradients": _apply_gradients}
    for kind, name, original in originals:
        setattr(kind, name, wrappers[name](trace, original))

    def restore() -> None:
        for kind, name, original in originals:
            setattr(kind, name, original)

    return restore


def _apply(trace: Trace, original: Any) -> Any:
    """Wrap the method of Keras 3."""

    def apply(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
        grads = list(grads)
        known = trainable_variables
        if known is None:
            known = getattr(self, "_trainable_variables", None)
        known = list(known) if known is not None else []
        _keep(trace, zip(grads, known))
        if trainable_variables is None:
            return original(self, grads)
        return original(self, grads, known)

    return apply


def _apply_gradients(trace: Trace, original: Any) -> Any:
    """Wrap the method of Keras 2."""

    def apply_gradients(self: Any, grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:
        pairs = list(grads_and_vars)
        _keep(trace, pairs)
        return original(self, pairs, *args, **kwargs)

    return apply_gradients


def _keep(trace: Trace, pairs: Iterable[Tuple[Any, Any]]) -> None:
    for gradient, variable in pairs:
        value = value_of(getattr(gradient, "values", gradient))
        if value is not None:
            trace.gradients[path_of(variable)] = value
