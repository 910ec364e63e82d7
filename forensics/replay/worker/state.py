"""All variables alive in the process: their roles, snapshots, and which of them went bad."""

from __future__ import annotations

import gc
from typing import Any, Dict, List, Optional, Tuple

from . import arrays

WEIGHT, SLOT, METRIC = "weight", "slot", "metric"


class Variable:
    """One resource variable with the name and role that the user knows it by."""

    __slots__ = ("name", "resource", "role")

    def __init__(self, resource: Any, name: str, role: str) -> None:
        self.resource, self.name, self.role = resource, name, role

    def read(self) -> Any:
        """Copy of the value, shape as stored."""
        return self.resource.numpy()


Snapshot = Dict[int, Any]
"""Values by `id` of the resource."""


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
        import keras
        from tensorflow.python.ops.resource_variable_ops import BaseResourceVariable

        paths: Dict[int, str] = {}
        roles: Dict[int, str] = {}
        found = _living(
            {
                "resource": (BaseResourceVariable,),
                "metric": (keras.metrics.Metric,),
                "optimizer": (keras.optimizers.Optimizer,),
                "keras": (keras.Variable,) if hasattr(keras, "Variable") else (),
            }
        )
        resources = list({v.handle._id: v for v in found["resource"] if _is_eager(v)}.values())
        optimizers = found["optimizer"]
        for metric in found["metric"]:
            for variable in metric.variables:
                roles[_key(variable)] = METRIC
        for variable in found["keras"]:
            paths[_key(variable)] = variable.path
        for optimizer in optimizers:
            for variable in optimizer_variables(optimizer):
                roles.setdefault(_key(variable), SLOT)
                paths.setdefault(_key(variable), getattr(variable, "path", None) or variable.name)
        for name, thing in self._restore.items():
            if hasattr(thing, "handle"):
                paths.setdefault(id(thing), getattr(thing, "name", name).split(":")[0] or name)
        self.optimizers = [o for o in optimizers if optimizer_variables(o)]
        self.variables = [
            Variable(r, paths.get(id(r), r.name.split(":")[0]), roles.get(id(r), WEIGHT))
            for r in resources
        ]
        self.by_handle = {v.resource.handle._id: v for v in self.variables}

    def snapshot(self) -> Snapshot:
        """Copy every value."""
        return {id(v.resource): v.read() for v in self.variables}

    def load(self, snapshot: Snapshot) -> None:
        """Put every value back."""
        for variable in self.variables:
            value = snapshot.get(id(variable.resource))
            if value is not None:
                variable.resource.assign(value)

    def bad(self) -> Dict[str, int]:
        """Badness by variable that holds a non-finite value; metrics are no state of training."""
        found: Dict[str, int] = {}
        for variable in self.variables:
            if variable.role == METRIC or not variable.resource.dtype.is_floating:
                continue
            bits = arrays.badness(variable.read())
            if bits:
                found[variable.name] = bits
        return found

    def size(self) -> int:
        """Bytes of one snapshot."""
        return sum(int(v.read().nbytes) for v in self.variables)

    def named(self, name: str) -> Optional[Variable]:
        """Find the variable of that name, if there is one."""
        return next((v for v in self.variables if v.name == name), None)


def optimizer_variables(optimizer: Any) -> List[Any]:
    """Variables of a Keras optimizer, whether `variables` is a property or a method."""
    variables = getattr(optimizer, "variables", [])
    return list(variables() if callable(variables) else variables)


def _key(variable: Any) -> int:
    """`id` of the resource behind a Keras variable (or of the resource itself)."""
    return id(getattr(variable, "_value", variable))


def _is_eager(resource: Any) -> bool:
    """Whether a variable lives in the eager runtime (and not in a graph being built)."""
    from tensorflow.python.framework.ops import EagerTensor

    return isinstance(getattr(resource, "_handle", None), EagerTensor)


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
