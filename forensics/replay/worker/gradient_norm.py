"""Norm of the gradients of a step, taken where a tape hands them over, in any mode."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, Optional

import numpy as np

from .state import INSTRUMENT
from .stepper import Stepper


class GradientNorm:
    """Adds up the squares of all gradients of a step, in a variable: compiled steps reach it too.

    In float64: the square of a finite gradient can overflow float32.
    """

    def __init__(self) -> None:
        import tensorflow as tf

        self._tf = tf
        self._squares = tf.Variable(0.0, dtype=tf.float64, name=INSTRUMENT, trainable=False)
        self.touched = False
        self.trouble: Optional[str] = None

    def take(self) -> Optional[float]:
        """Norm since the last call; None where no tape was asked for gradients."""
        squares = float(self._squares.numpy())
        self._squares.assign(0.0)
        return float(np.sqrt(squares)) if self.touched else None

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

    norm, original = GradientNorm(), tf.GradientTape.gradient

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
