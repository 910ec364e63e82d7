"""A checkpoint of ``tf.train.Checkpoint`` (or of a Saver) into the objects of the case."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Set, Tuple

from ..keras_family import keras_api
from ..stepping.state import State
from .entry import Case

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_OWN = {_GRAPH, "save_counter"}


class DoesNotFit(Exception):
    """The checkpoint holds something else than the case; the message says what."""


def load_bundle(case: Case, state: State, path: str) -> List[str]:
    """Restore what the checkpoint and the case have in common; return notes for the report.

    The names of the case are tried first. What they leave over may be the parts of one of its
    objects: ``tf.train.Checkpoint(root=model)`` and a Keras 2 model's own weights begin there.

    Raises
    ------
    DoesNotFit
        When there is nothing in common, or the file has no object graph.
    """
    if not case.restore:
        raise DoesNotFit("the case has no model, and restore= names nothing")
    held = _names_in(path)
    if _GRAPH not in held:
        raise DoesNotFit(
            "it was written by a Saver of TensorFlow 1 or an Estimator (it has no object graph): "
            "such a run can be read, not replayed"
        )
    held -= _OWN
    common = {name: thing for name, thing in case.restore.items() if name in held}
    before = state.snapshot()
    if held - set(case.restore):
        for root in _roots(case):
            if _read(path, {"root": root}):
                return _missing(case, [root], path)
            state.load(before)
    if not common:
        raise DoesNotFit(
            "it holds %s, the case restores %s"
            % (", ".join(sorted(held)[:8]), ", ".join(case.restore))
        )
    if not _read(path, common):
        return ["some variables of the case are not in %s; they kept their built values"
                % path.rpartition("/")[2]]  # fmt: skip
    return _missing(case, list(common.values()), path)


def _read(path: str, things: Dict[str, Any]) -> bool:
    """Read it into the things; whether every variable that they have was in it."""
    import tensorflow as tf

    try:
        # unlike `restore`, `read` does not ask for the save counter that `write` leaves out
        status = tf.train.Checkpoint(**things).read(path)
        status.assert_existing_objects_matched()
    except AssertionError:
        return False
    return True


def _roots(case: Case) -> Iterator[Any]:
    """Models of the case: what has layers can be the root of a checkpoint."""
    for thing in case.restore.values():
        if hasattr(thing, "layers"):
            yield thing


def _missing(case: Case, restored: List[Any], path: str) -> List[str]:
    """Say what the case has and the checkpoint does not.

    An optimizer brings along the weights that it trains, but no statistics of a BatchNorm and no
    seeds.
    """
    covered = {id(v) for thing in restored for _, v in _variables(thing)}
    left = [
        "%s of %s" % (variable_name, name)
        for name, thing in case.restore.items()
        for variable_name, variable in _variables(thing)
        if id(variable) not in covered
    ]
    if not left:
        return []
    more = ", ..." if len(left) > 3 else ""
    return [
        "%s does not hold %s%s: built values were kept"
        % (path.rpartition("/")[2], ", ".join(left[:3]), more)
    ]


def _variables(thing: Any) -> List[Tuple[str, Any]]:
    if hasattr(thing, "apply_gradients"):
        listed = list(keras_api.optimizer_variables(thing))
        listed += list(getattr(thing, "_trainable_variables", None) or [])
    elif hasattr(thing, "numpy"):
        listed = [thing]
    else:
        found = getattr(thing, "variables", [])
        listed = list(found() if callable(found) else found)
        listed += [v for v in _optimizer_of(thing) if all(v is not w for w in listed)]
    return [(str(getattr(v, "path", None) or v.name), v) for v in listed]


def _optimizer_of(thing: Any) -> List[Any]:
    """Variables of the optimizer of a compiled model, which a checkpoint of it includes."""
    optimizer = getattr(thing, "optimizer", None)
    return [] if optimizer is None else list(keras_api.optimizer_variables(optimizer))


def _names_in(path: str) -> Set[str]:
    import tensorflow as tf

    return {name.split("/")[0] for name, _ in tf.train.list_variables(path)}
