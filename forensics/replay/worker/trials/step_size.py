"""Remedies of the update: smaller steps, clipped gradients, a warm-up.

All of them turn variables that stand in the traced step already: one trace serves them all, and
the baseline too.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any, Iterator, List, Optional

from ..keras_family import old_optimizers
from .change import Change, owners_of, wrapped

UPDATE, CLIPPING = "_backend_update_step", "_clip_gradients"
CLIP = 1.0
"""Usual limit of the global gradient norm."""
CLIP_VALUE = 0.5
"""Usual limit of each element of the gradients."""
WARM_UP_STEPS = 25
"""Half of the steps that a fix has to survive: the other half runs at the full rate."""
EARLY = 30
"""A warm-up is for failures within so many steps of the beginning."""


class Controls:
    """Variables that scale the learning rate and clip the gradients of all optimizers.

    Parameters
    ----------
    optimizers : list
        Keras optimizers of the program. When there is none, or the step uses none of them, what
        `tf.GradientTape.gradient` answers is scaled and clipped (`by_tape`).
    """

    def __init__(self, optimizers: List[Any]) -> None:
        import tensorflow as tf

        inner = [o for o in optimizers if not hasattr(o, "inner_optimizer")]
        self.optimizers = [o for o in inner if hasattr(o, UPDATE) and hasattr(o, CLIPPING)]
        self.old = old_optimizers.known(inner)
        """Those of Keras 2, which have other methods."""
        self.by_tape = not (self.optimizers or self.old)
        self.used: List[bool] = []
        self.factor = tf.Variable(1.0, trainable=False)
        self.norm_limit = tf.Variable(math.inf, trainable=False)
        self.value_limit = tf.Variable(math.inf, trainable=False)
        self.norm = tf.Variable(0.0, trainable=False)
        self.usual_norm: Optional[float] = None
        """Median of the gradient norms of the healthy steps."""

    def reset(self) -> None:
        """Leave the step as it is."""
        self.factor.assign(1.0)
        self.norm_limit.assign(math.inf)
        self.value_limit.assign(math.inf)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Put the variables into the step; they do nothing before they are turned."""
        self.used.clear()
        self.reset()
        with contextlib.ExitStack() as stack:
            if self.by_tape:
                from tensorflow.python.eager.backprop import GradientTape

                stack.enter_context(wrapped([GradientTape], "gradient", self._taped))
            else:
                stack.enter_context(old_optimizers.controlled(self.old, self._scaled, self.clipped))
                for name, wrap in ((CLIPPING, self._clipping), (UPDATE, self._update)):
                    owners = owners_of(self.optimizers, name)
                    stack.enter_context(wrapped(owners, name, wrap))
            yield

    # -- inside of the step
    def _clipping(self, method: Any) -> Any:
        inside = [False]

        def clip(optimizer: Any, grads: Any, *args: Any, **kwargs: Any) -> Any:
            # an override calls the method that it overrides: clip once
            outer, inside[0] = inside[0], True
            try:
                grads = method(optimizer, grads, *args, **kwargs)
            finally:
                inside[0] = outer
            return grads if outer else self.clipped(list(grads))

        return clip

    def _scaled(self, rate: Any) -> Any:
        import tensorflow as tf

        self.used.append(True)
        value = tf.convert_to_tensor(rate)
        return value * tf.cast(self.factor, value.dtype)

    def _update(self, method: Any) -> Any:
        inside = [False]

        def update(optimizer: Any, grads: Any, variables: Any, learning_rate: Any) -> Any:
            self.used.append(True)
            rate = learning_rate
            if not inside[0]:
                rate = self._scaled(getattr(rate, "value", rate))
            outer, inside[0] = inside[0], True
            try:
                return method(optimizer, grads, variables, rate)
            finally:
                inside[0] = outer

        return update

    def _taped(self, method: Any) -> Any:
        def gradient(tape: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
            import tensorflow as tf

            self.used.append(True)
            found = method(tape, target, sources, *args, **kwargs)
            flat = self.clipped(tf.nest.flatten(found))
            scaled = [_mapped(g, lambda v: v * tf.cast(self.factor, v.dtype)) for g in flat]
            return tf.nest.pack_sequence_as(found, scaled)

        return gradient

    def clipped(self, grads: List[Any]) -> List[Any]:
        """Clip by value, then by global norm, as Keras does: an infinite norm is no help."""
        import tensorflow as tf

        flat = [getattr(g, "values", g) for g in grads if g is not None]
        flat = [g for g in flat if g.dtype.is_floating]
        if not flat:
            return grads
        norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(tf.cast(g, tf.float32))) for g in flat]))
        self.norm.assign(norm)
        scale = tf.where(norm > self.norm_limit, self.norm_limit / norm, 1.0)
        lost = tf.math.is_inf(norm) & tf.math.is_finite(self.norm_limit)
        scale = tf.where(lost, math.nan, scale)

        def clip(value: Any) -> Any:
            if not value.dtype.is_floating:
                return value
            limit = tf.cast(self.value_limit, value.dtype)
            return tf.clip_by_value(value, -limit, limit) * tf.cast(scale, value.dtype)

        return [_mapped(g, clip) for g in grads]


def _mapped(gradient: Any, change: Any) -> Any:
    """Change a gradient, which may be sparse or missing."""
    import tensorflow as tf

    if gradient is None:
        return None
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(change(gradient.values), gradient.indices, gradient.dense_shape)
    return change(gradient)


class StepSize(Change):
    """Turns the controls; what they are set to depends on the subclass."""

    family = "step size"
    retraces = False

    def __init__(self, controls: Controls) -> None:
        self.controls = controls

    @contextlib.contextmanager
    def active(self) -> Iterator[List[bool]]:
        """Turn the controls within the block; the step that holds them is installed already."""
        self.controls.reset()
        self.turn()
        try:
            yield self.controls.used
        finally:
            self.controls.reset()

    def turn(self) -> None:
        """Set the variables."""


class LowerRate(StepSize):
    """The learning rate divided where it is used: variables and schedules alike."""

    slows = True

    def __init__(self, controls: Controls, divisor: int) -> None:
        super().__init__(controls)
        self.divisor = divisor
        self.remedy = "learning_rate_div_%d" % divisor
        what = "gradients of a hand-written update" if controls.by_tape else "learning rate"
        self.what = "%s divided by %d" % (what, divisor)

    def turn(self) -> None:
        """Scale the rate."""
        self.controls.factor.assign(1.0 / self.divisor)


class HigherRate(StepSize):
    """The learning rate times ten."""

    remedy, what = "learning_rate_times_10", "learning rate times 10"

    def turn(self) -> None:
        """Scale the rate."""
        self.controls.factor.assign(10.0)


class WarmUp(StepSize):
    """The rate grows to its own value over the first steps."""

    remedy = "warm_up"
    what = "learning rate warmed up over %d steps" % WARM_UP_STEPS

    def begin(self, index: int) -> None:
        """Set the rate of this step."""
        self.controls.factor.assign(min(1.0, (index + 1) / WARM_UP_STEPS))


class ClipNorm(StepSize):
    """The global norm of the gradients is limited."""

    remedy, family = "clip_global_norm", "clipping"

    def __init__(self, controls: Controls) -> None:
        super().__init__(controls)
        usual = controls.usual_norm
        self.limit = CLIP if usual is None or usual < 10 * CLIP else float("%.2g" % usual)
        self.what = "global gradient norm clipped to %g" % self.limit
        if self.limit != CLIP:
            self.what += ", its median over the steps before"

    def turn(self) -> None:
        """Set the limit."""
        self.controls.norm_limit.assign(self.limit)


class ClipValue(StepSize):
    """Every element of the gradients is limited."""

    remedy, family = "clip_value", "clipping"
    what = "gradients clipped to ±%g element by element" % CLIP_VALUE

    def turn(self) -> None:
        """Set the limit."""
        self.controls.value_limit.assign(CLIP_VALUE)
