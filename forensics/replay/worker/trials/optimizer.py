"""Remedies of the optimizer's inside: its slots, its epsilon, its schedule."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Optional

import numpy as np

from .. import arrays
from ..stepping.modes import uses_xla, without_jit
from ..stepping.state import SLOT, Snapshot, State
from ..stepping.stepper import Stepper
from .change import Change, Unfit, owners_of, replaced, wrapped
from .step_size import UPDATE

EPSILON = 1e-4
"""Above the smallest normal number of float16 (6e-5)."""


class ResetSlots(Change):
    """Slots that hold non-finite or extreme values start anew; the weights stay."""

    remedy, family = "reset_slots", "optimizer"
    retraces = False
    what = "optimizer slots started anew, weights kept"

    def __init__(self, state: State, built: Snapshot, start: Snapshot) -> None:
        self.fresh = {
            v.key: built.values[v.key]
            for v in state.variables
            if v.role == SLOT
            and v.key in built.values
            and v.resource.dtype.is_floating
            and "learning_rate" not in v.name
        }
        changed = [
            k
            for k, v in self.fresh.items()
            if k in start.values and not np.array_equal(start.values[k], v)
        ]
        if not changed:
            raise Unfit("the slots are those of the beginning")

    def values(self, snapshot: Snapshot) -> Snapshot:
        """Put the slots' first values in."""
        return with_values(snapshot, self.fresh)


class LargerEpsilon(Change):
    """The divisor of the update stays clear of 0."""

    remedy, family = "larger_epsilon", "optimizer"
    what = "epsilon of the optimizer raised to %g" % EPSILON

    def __init__(self, optimizers: List[Any]) -> None:
        inner = [getattr(o, "inner_optimizer", o) for o in optimizers]
        self.optimizers = [
            o
            for o in inner
            if isinstance(getattr(o, "epsilon", None), float) and o.epsilon < EPSILON
        ]
        if not self.optimizers:
            raise Unfit("no optimizer has a smaller epsilon")

    @contextlib.contextmanager
    def active(self) -> Iterator[List[bool]]:
        """Set the attribute that the update reads."""
        with contextlib.ExitStack() as stack:
            for optimizer in self.optimizers:
                stack.enter_context(replaced(optimizer, epsilon=EPSILON))
            yield [True]


class HoldRate(Change):
    """A schedule that raises the rate stops where training still went well."""

    remedy, family = "learning_rate_schedule", "schedule"

    def __init__(self, optimizers: List[Any], rates: Dict[int, float], best: int) -> None:
        self.optimizers = [o for o in optimizers if hasattr(o, UPDATE)]
        self.rate = rates[best]
        self.what = "learning rate held at %.3g, its value at step %d" % (self.rate, best)

    @contextlib.contextmanager
    def active(self) -> Iterator[List[bool]]:
        """Hand the update a rate that does not grow any more."""
        used: List[bool] = []

        def wrap(method: Any) -> Any:
            def update(optimizer: Any, grads: Any, variables: Any, learning_rate: Any) -> Any:
                import tensorflow as tf

                used.append(True)
                rate = tf.convert_to_tensor(getattr(learning_rate, "value", learning_rate))
                rate = tf.minimum(rate, tf.cast(self.rate, rate.dtype))
                return method(optimizer, grads, variables, rate)

            return update

        with wrapped(owners_of(self.optimizers, UPDATE), UPDATE, wrap):
            yield used


class JitOff(Change):
    """Nothing is compiled by XLA: not the step, and no function of the program."""

    remedy, family = "jit_off", "compiler"
    what = "compiled without XLA (jit_compile=False)"

    def __init__(self, stepper: Stepper) -> None:
        self.stepper = stepper
        if not uses_xla(stepper):
            raise Unfit("nothing is compiled by XLA")

    @contextlib.contextmanager
    def active(self) -> Iterator[List[bool]]:
        """Take the compiler off."""
        with without_jit(self.stepper):
            yield [True]


def with_values(snapshot: Snapshot, values: Dict[int, Any]) -> Snapshot:
    """Copy a snapshot with some values exchanged."""
    other = Snapshot({**snapshot.values, **values})
    other.generators = snapshot.generators
    return other


def bad_slots(state: State, snapshot: Snapshot) -> Optional[str]:
    """Name a slot that is non-finite in the snapshot, None when all are finite."""
    for variable in state.variables:
        value = snapshot.values.get(variable.key)
        if variable.role == SLOT and value is not None and arrays.badness(value):
            return variable.name
    return None
