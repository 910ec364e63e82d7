"""Put a trace on every op of a step, and hooks where the loss and the gradients pass."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Iterable, Iterator, Tuple

import numpy as np

from ..keras_family import keras_api
from .in_threads import heard_in_threads
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
            heard_in_threads(trace),
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
    import tensorflow as tf

    switches = []
    if tf.debugging.is_traceback_filtering_enabled():
        switches.append((tf.debugging.disable_traceback_filtering,
                         tf.debugging.enable_traceback_filtering))  # fmt: skip
    for package in keras_api.packages():
        config = getattr(package, "config", None)
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
        if gradient is not None:
            trace.gradient(variable, gradient)
