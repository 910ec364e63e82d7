"""Norm of the gradients of a step, taken where a tape hands them over, in any mode."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, List, Optional

import numpy as np

from ..stepping.state import INSTRUMENT
from ..stepping.stepper import Stepper


class GradientNorm:
    """Adds up the squares of all gradients of a step, in a variable: compiled steps reach it too.

    In float64: the square of a finite gradient can overflow float32.

    Parameters
    ----------
    loss_scale : float
        What the loss is multiplied with before it is differentiated, in mixed precision.
    """

    def __init__(self, loss_scale: float = 1.0) -> None:
        import tensorflow as tf

        self._tf, self._scale = tf, loss_scale
        self._squares = tf.Variable(0.0, dtype=tf.float64, name=INSTRUMENT, trainable=False)
        self.touched = False
        self.trouble: Optional[str] = None

    def take(self) -> Optional[float]:
        """Norm since the last call; None where no tape was asked for gradients."""
        squares = float(self._squares.numpy())
        self._squares.assign(0.0)
        return float(np.sqrt(squares)) / self._scale if self.touched else None

    def add(self, gradients: Any) -> None:
        """Take account of what a tape answered; trouble is noted, never raised."""
        tf = self._tf
        try:
            for gradient in tf.nest.flatten(gradients):
                values = getattr(gradient, "values", gradient)
                if values is None or not values.dtype.is_floating:
                    continue
                self._squares.assign_add(tf.reduce_sum(tf.square(tf.cast(values, tf.float64))))
                self.touched = True
        except Exception as error:
            self.trouble = "gradient norms could not be taken (%s)" % type(error).__name__


@contextlib.contextmanager
def gradient_norm(stepper: Stepper) -> Iterator[GradientNorm]:
    """Measure the gradients of every step within the block; steps are traced anew for it."""
    import tensorflow as tf

    norm = GradientNorm(_loss_scale(stepper.state.optimizers))
    original = tf.GradientTape.gradient

    def measured(self: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
        gradients = original(self, target, sources, *args, **kwargs)
        norm.add(gradients)
        return gradients

    tf.GradientTape.gradient = measured
    stepper.retrace()
    try:
        yield norm
    finally:
        tf.GradientTape.gradient = original
        stepper.retrace()


def _loss_scale(optimizers: List[Any]) -> float:
    """Scale of the first optimizer that scales the loss; a scan puts it back after every step."""
    for optimizer in optimizers:
        scale = getattr(optimizer, "dynamic_scale", None)
        if scale is not None:
            return float(np.asarray(scale)) or 1.0
    return 1.0
