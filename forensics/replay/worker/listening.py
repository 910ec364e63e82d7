"""Put a trace on every op of a step, and hooks where the loss and the gradients pass."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator

import numpy as np

from .in_threads import heard_in_threads
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
    kinds = {
        kind
        for optimizer in trace.state.optimizers
        for kind in type(optimizer).__mro__
        if "apply" in vars(kind) and "keras" in kind.__module__
    }
    originals = [(kind, vars(kind)["apply"]) for kind in kinds]

    def wrap(original: Any) -> Any:
        def apply(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
            grads = list(grads)
            known = trainable_variables
            if known is None:
                known = getattr(self, "_trainable_variables", None)
            known = list(known) if known is not None else []
            for gradient, variable in zip(grads, known):
                value = value_of(getattr(gradient, "values", gradient))
                if value is not None:
                    trace.gradients[getattr(variable, "path", None) or variable.name] = value
            if trainable_variables is None:
                return original(self, grads)
            return original(self, grads, known)

        return apply

    for kind, original in originals:
        setattr(kind, "apply", wrap(original))  # noqa: B010 - a method that mypy does not know

    def restore() -> None:
        for kind, original in originals:
            setattr(kind, "apply", original)  # noqa: B010

    return restore
