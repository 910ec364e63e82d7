"""Bring the model of the case to the state of a checkpoint."""

from __future__ import annotations

from typing import Any, Dict, List, Set

from .entry import Case, brief
from .state import State, optimizer_variables


class RestoreError(Exception):
    """A checkpoint does not fit the case."""


def build(case: Case, batch: Any) -> None:
    """Create the variables of a compiled model and its optimizer, which loading needs to exist."""
    model = case.model
    if model is not None and case.step is None:
        data = (
            batch
            if isinstance(batch, tuple)
            else tuple(batch)
            if isinstance(batch, list)
            else (batch,)
        )
        symbolic = getattr(model, "_maybe_symbolic_build", None) or getattr(
            model, "_symbolic_build", None
        )
        if symbolic is not None:
            symbolic(data_batch=tuple(data) + (None,) * (3 - len(data)))
        elif not model.built:
            model(data[0])
    optimizer = getattr(model, "optimizer", None) if model is not None else None
    if optimizer is not None and not getattr(optimizer, "built", True):
        optimizer.build(model.trainable_variables)


def restore(case: Case, state: State, path: str, kind: str) -> List[str]:
    """Load a checkpoint into the objects of the case; returns notes for the report.

    Parameters
    ----------
    path : str
        Prefix of a tensor bundle, or a `.weights.h5` or `.keras` file.
    kind : str
        Value of `CheckpointFormat`.

    Raises
    ------
    RestoreError
        When it does not fit, or nothing of the case was in it.
    """
    before = state.snapshot()
    try:
        notes = _bundle(case, path) if kind == "tensor_bundle" else _keras(case, path)
    except Exception as error:
        state.load(before)
        raise RestoreError("%s does not fit the case: %s" % (_tail(path), brief(error))) from error
    return notes


def _bundle(case: Case, path: str) -> List[str]:
    import tensorflow as tf

    status = tf.train.Checkpoint(**case.restore).restore(path)
    try:
        status.assert_existing_objects_matched()
    except AssertionError:
        if not _names_in(path) & set(case.restore):
            raise
        return [
            "some variables of the case are not in %s; they kept their built values" % _tail(path)
        ]
    return []


def _names_in(path: str) -> Set[str]:
    import tensorflow as tf

    return {name.split("/")[0] for name, _ in tf.train.list_variables(path)}


def _keras(case: Case, path: str) -> List[str]:
    if case.model is None:
        raise RestoreError("a Keras weights file needs a case with model=")
    optimizer = getattr(case.model, "optimizer", None)
    before = _iterations(optimizer)
    case.model.load_weights(path)
    others: Dict[str, Any] = {
        k: v for k, v in case.restore.items() if v is not case.model and v is not optimizer
    }
    notes = []
    if any(optimizer_variables(v) for v in others.values() if hasattr(v, "apply_gradients")):
        notes.append("optimizer slots outside the model are not in %s" % _tail(path))
    elif optimizer is not None and _iterations(optimizer) == before == 0:
        notes.append("%s holds no optimizer state; slots start at zero" % _tail(path))
    return notes


def _iterations(optimizer: Any) -> int:
    try:
        return int(optimizer.iterations.numpy())
    except Exception:
        return 0


def _tail(path: str) -> str:
    return path.replace("\\", "/").split("/")[-1]
