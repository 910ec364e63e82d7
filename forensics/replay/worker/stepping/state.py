"""All variables alive in the process: their roles, snapshots, and which of them went bad."""

from __future__ import annotations

import contextlib
import gc
import random
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

from .. import arrays
from ..keras_family import keras_api

WEIGHT, SLOT, METRIC = "weight", "slot", "metric"
INSTRUMENT = "forensics_instrument"
"""Name of the variables that the replay itself creates: they are no state of the run."""


class Variable:
    """One resource variable with the name and role that the user knows it by."""

    __slots__ = ("key", "name", "resource", "role")

    def __init__(self, resource: Any, name: str, role: str) -> None:
        self.resource, self.name, self.role = resource, name, role
        self.key: int = resource.handle._id

    def read(self) -> Any:
        """Copy of the value, shape as stored."""
        return self.resource.numpy()


class Snapshot:
    """Values of all variables and the states of the global generators of Python and NumPy.

    `values` is keyed by the number of the variable's handle: it is never used twice, unlike
    Python's `id()`.
    """

    __slots__ = ("generators", "values")

    def __init__(self, values: Dict[int, Any]) -> None:
        self.values = values
        self.generators = (random.getstate(), np.random.get_state())

    def size(self) -> int:
        """Count the bytes of the values."""
        return sum(int(v.nbytes) for v in self.values.values())

    def likeness(self, other: Snapshot) -> str:
        """Compare: ``bitwise`` (NaN included), within ``tolerance`` (1e-5 relative) or ``none``."""
        if self.values.keys() != other.values.keys():
            return "none"
        pairs = [(value, other.values[key]) for key, value in self.values.items()]
        if all(one.tobytes() == two.tobytes() for one, two in pairs):
            return "bitwise"
        with np.errstate(all="ignore"):
            near = all(_near(arrays.widen(one), arrays.widen(two)) for one, two in pairs)
        return "tolerance" if near else "none"


class State:
    """Every variable, found through the garbage collector.

    A case names what a checkpoint restores, but a step may also keep seeds, metrics, moving
    averages or a second model; what is not snapshot would silently differ in the second run of a
    step.
    """

    def __init__(self, restore: Dict[str, Any]) -> None:
        self._restore = restore
        self.variables: List[Variable] = []
        self.refresh()

    def refresh(self) -> None:
        """Look again: building a model or the first step of an optimizer creates variables."""
        from tensorflow.python.ops.resource_variable_ops import BaseResourceVariable

        paths: Dict[Optional[int], str] = {}
        roles: Dict[Optional[int], str] = {}
        found = _living(
            {
                "resource": (BaseResourceVariable,),
                "metric": keras_api.metric_types(),
                "optimizer": keras_api.optimizer_types(),
                "keras": keras_api.variable_types(),
            }
        )
        resources = list({v.handle._id: v for v in found["resource"] if _holds_value(v)}.values())
        for metric in found["metric"]:
            for variable in metric.variables:
                roles[_key(variable)] = METRIC
        for variable in found["keras"]:
            paths[_key(variable)] = variable.path
        for optimizer in found["optimizer"]:
            for variable in keras_api.optimizer_variables(optimizer):
                roles.setdefault(_key(variable), SLOT)
                paths.setdefault(_key(variable), path_of(variable))
        for name, thing in self._restore.items():
            if hasattr(thing, "handle"):
                paths.setdefault(_key(thing), getattr(thing, "name", name).split(":")[0] or name)
        self.optimizers = [o for o in found["optimizer"] if keras_api.optimizer_variables(o)]
        taken: Dict[str, int] = {}
        self.variables = [
            Variable(
                r,
                _unique(paths.get(_key(r), r.name.split(":")[0]), taken),
                roles.get(_key(r), WEIGHT),
            )
            for r in resources
        ]
        self.by_handle = {v.key: v for v in self.variables}

    def snapshot(self) -> Snapshot:
        """Copy every value."""
        return Snapshot({v.key: v.read() for v in self.variables})

    def load(self, snapshot: Snapshot) -> None:
        """Put every value back."""
        for variable in self.variables:
            value = snapshot.values.get(variable.key)
            if value is not None:
                variable.resource.assign(value)
        random.setstate(snapshot.generators[0])
        np.random.set_state(snapshot.generators[1])

    def holder(self, array: Any) -> Optional[Variable]:
        """Find the variable that holds this very value, by its bytes."""
        for variable in self.variables:
            resource = variable.resource
            alike = tuple(resource.shape) == array.shape
            alike = alike and resource.dtype.as_numpy_dtype == array.dtype
            if alike and variable.read().tobytes() == array.tobytes():
                return variable
        return None

    def bad(self, snapshot: Optional[Snapshot] = None) -> Dict[str, int]:
        """Badness by variable that holds a non-finite value, now or in a snapshot.

        Metrics are left out: they are no state of training.
        """
        found: Dict[str, int] = {}
        for variable in self.variables:
            if variable.role == METRIC or not variable.resource.dtype.is_floating:
                continue
            value = variable.read() if snapshot is None else snapshot.values.get(variable.key)
            bits = arrays.badness(value) if value is not None else 0
            if bits:
                found[variable.name] = found.get(variable.name, 0) | bits
        return found


def _unique(name: str, taken: Dict[str, int]) -> str:
    """Tell apart variables of one name: TensorFlow calls every nameless one `Variable`."""
    taken[name] = taken.get(name, -1) + 1
    return "%s_%d" % (name, taken[name]) if taken[name] else name


def _near(one: Any, two: Any) -> bool:
    if one.dtype.kind not in "fc":
        return bool((one == two).all())
    return bool(np.allclose(one, two, rtol=1e-5, atol=1e-8, equal_nan=True))


@contextlib.contextmanager
def newborn() -> Iterator[Dict[int, Any]]:
    """Collect the initial values of the variables that are created eagerly within the block."""
    import tensorflow as tf

    values: Dict[int, Any] = {}

    def creator(following: Any, **arguments: Any) -> Any:
        variable = following(**arguments)
        # one that is created while a function is traced has no value yet
        with contextlib.suppress(Exception):
            if _is_eager(variable):
                values[variable.handle._id] = variable.numpy()
        return variable

    with tf.variable_creator_scope(creator):
        yield values


def path_of(variable: Any) -> str:
    """Path of a Keras variable, or the name of one of TensorFlow's without its output number."""
    return getattr(variable, "path", None) or str(variable.name).split(":")[0]


def _key(variable: Any) -> Optional[int]:
    """Find the number of the handle behind a Keras variable (or of the resource itself)."""
    handle = getattr(getattr(variable, "_value", variable), "handle", None)
    number = getattr(handle, "_id", None)
    return number if isinstance(number, int) else None


def _is_eager(resource: Any) -> bool:
    """Whether a variable lives in the eager runtime (and not in a graph being built)."""
    from tensorflow.python.framework.ops import EagerTensor

    return isinstance(getattr(resource, "_handle", None), EagerTensor)


def _holds_value(resource: Any) -> bool:
    """Whether it is a variable that can be read, and not merely the result of an assignment."""
    if type(resource).__name__ == "_UnreadVariable" or not _is_eager(resource):
        return False
    if resource.name.startswith(INSTRUMENT):
        return False
    return bool(resource.is_initialized())


def _living(wanted: Dict[str, Tuple[type, ...]]) -> Dict[str, List[Any]]:
    """Living objects by group of types.

    By `type`, not `isinstance`: proxies in the heap run code when they are asked for their class.
    """
    found: Dict[str, List[Any]] = {name: [] for name in wanted}
    group_of: Dict[type, Optional[str]] = {}
    for thing in gc.get_objects():
        kind = type(thing)
        if kind not in group_of:
            group_of[kind] = next(
                (n for n, types in wanted.items() if issubclass(kind, types)), None
            )
        group = group_of[kind]
        if group is not None:
            found[group].append(thing)
    return found
