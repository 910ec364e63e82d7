"""Put a trace on every op of a step, and hooks where the loss and the gradients pass."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Iterator

import numpy as np

from .substitutes import op_by_op
from .tensors import flatten
from .trace import Trace


@contextlib.contextmanager
def listening(trace: Trace, tapes_kept: bool = False) -> Iterator[None]:
    """Put the trace's callback on every op, and hooks on tapes and optimizers, within the block.

    `tapes_kept` lets every tape give more than one gradient, as a jacobian taken row by row needs.
    """
    import tensorflow as tf
    from tensorflow.python.framework import op_callbacks

    gradient = tf.GradientTape.gradient

    def hooked(self: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
        if not _inside_tensorflow(sys._getframe(1).f_code.co_filename):
            trace.loss_target(target, "the differentiated loss")
        slopes = gradient(self, target, sources, *args, **kwargs)
        _keep_slopes(trace, sources, slopes)
        return slopes

    begin = tf.GradientTape.__init__

    def kept(self: Any, persistent: bool = False, *args: Any, **kwargs: Any) -> None:
        begin(self, True, *args, **kwargs)

    restore = _hook_optimizers(trace)
    if tapes_kept:
        tf.GradientTape.__init__ = kept
    tf.GradientTape.gradient = hooked
    op_callbacks.add_op_callback(trace)
    try:
        with (
            np.errstate(all="ignore"),
            whole_tracebacks(),
            op_by_op(trace.loops, trace, trace.degradations),
        ):
            yield
    finally:
        op_callbacks.remove_op_callback(trace)
        trace.close()
        tf.GradientTape.gradient = gradient
        tf.GradientTape.__init__ = begin
        restore()


def _inside_tensorflow(file: str) -> bool:
    """Whether a tape was asked by TensorFlow itself: forward mode, recomputation, custom slopes."""
    return "/tensorflow/python/" in file.replace("\\", "/")


def _keep_slopes(trace: Trace, sources: Any, slopes: Any) -> None:
    """Keep the gradients of variables, for loops without an optimizer of Keras."""
    for variable, slope in zip(flatten(sources), flatten(slopes)):
        if hasattr(variable, "assign") and slope is not None:
            trace.gradient(variable, slope)


@contextlib.contextmanager
def whole_tracebacks() -> Iterator[None]:
    """Let errors keep the frames of layers, which Keras and TensorFlow leave out."""
    import keras
    import tensorflow as tf

    switches = []
    if tf.debugging.is_traceback_filtering_enabled():
        switches.append((tf.debugging.disable_traceback_filtering,
                         tf.debugging.enable_traceback_filtering))  # fmt: skip
    config = getattr(keras, "config", None)
    if config is not None and config.is_traceback_filtering_enabled():
        switches.append((config.disable_traceback_filtering, config.enable_traceback_filtering))
    for off, _ in switches:
        off()
    try:
        yield
    finally:
        for _, on in switches:
            on()


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
                if gradient is not None:
                    trace.gradient(variable, gradient)
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
