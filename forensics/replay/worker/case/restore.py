"""Build the objects of the case and bring them to the state of a checkpoint."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any, ContextManager, Dict, List, Optional

from ..keras_family import keras_api
from ..stepping.state import Snapshot, State, newborn
from ..stepping.stepper import Stepper, to_tensors
from . import model_h5
from .entry import Case, brief
from .npz_file import BadArchive
from .recorded import load_state
from .saved_by import version_gap
from .tensor_bundle import DoesNotFit, load_bundle


class RestoreError(Exception):
    """A checkpoint does not fit the case; the message says why."""


class BatchError(Exception):
    """A batch does not pass through the model; the message names what does not fit."""


def build(case: Case, state: State, stepper: Stepper, batch: Any) -> Snapshot:
    """Create every variable that training will need; returns the values they start from.

    Loading a checkpoint needs them to exist, and so does the second run of a first step. A compiled
    model is built symbolically. A custom loop builds its model and its optimizer in its first step,
    so that step is run once and taken back: initial values are caught as they are created. So does
    a compiled model that cannot be called by itself, e.g. one with a `train_step` of its own.

    Raises
    ------
    BatchError
        When neither the model nor its step takes the batch; the state is as before then.
    """
    before = state.snapshot()
    with newborn() as values:
        if case.step is None:
            refused = _refusal(case.model, stepper, batch)
            if refused is not None:
                state.load(before)
                raise BatchError(refused)
        elif _unbuilt(case):
            stepper.eager(batch)
    state.refresh()
    for variable in state.variables:
        before.values.setdefault(variable.key, values.get(variable.key, variable.read()))
    state.load(before)
    return before


def _refusal(model: Any, stepper: Stepper, batch: Any) -> Optional[str]:
    """Build a compiled model; None when it or its step takes the batch, else what does not fit."""
    try:
        with _strategy_of(model):
            _build_compiled(model, batch)
    except Exception as error:
        outcome = stepper.eager(to_tensors(batch))
        if outcome.error is not None:
            return _misfit(model, batch) or brief(error)
    return None


def _misfit(model: Any, batch: Any) -> Optional[str]:
    """Shapes of the input and of what the model takes, where they differ."""
    x = batch[0] if isinstance(batch, tuple) and batch else batch
    try:
        got, wanted = getattr(x, "shape", None), model.input_shape
    except Exception:  # a model that was never called has none
        return None
    if got is None or not isinstance(wanted, tuple) or any(isinstance(n, tuple) for n in wanted):
        return None
    got = tuple(got)
    if len(got) == len(wanted) and all(n in (None, m) for m, n in zip(got, wanted)):
        return None
    return "x has shape %s, the model takes %s" % (got, wanted)


def _build_compiled(model: Any, batch: Any) -> None:
    strategy = getattr(model, "distribute_strategy", None)
    # slots are made where the weights are, one per replica
    with strategy.scope() if strategy is not None else contextlib.nullcontext():
        _build_in_scope(model, batch)


def _build_in_scope(model: Any, batch: Any) -> None:
    data = to_tensors(batch)
    parts = tuple(data) if isinstance(data, tuple) else (data,)
    symbolic = getattr(model, "_symbolic_build", None)
    if symbolic is not None:
        try:
            symbolic(data_batch=(*parts, None, None)[:3])
        except Exception:
            # `call` needs values: its control flow depends on them
            model(parts[0])
    elif not model.built:
        model(parts[0])
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        keras_api.build_optimizer(optimizer, model.trainable_variables)


def _strategy_of(model: Any) -> ContextManager[Any]:
    """Scope in which the model creates variables: a strategy refuses them anywhere else."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.scope() if strategy is not None else contextlib.nullcontext()


def _unbuilt(case: Case) -> bool:
    """Whether a model or an optimizer of a custom loop has yet to create variables."""
    things = [case.model, *case.restore.values()]
    things += [getattr(thing, "optimizer", None) for thing in things]
    return any(
        not getattr(part, "built", True)
        for thing in things
        if thing is not None
        for part in (thing, *getattr(thing, "layers", ()))
    )


def restore(case: Case, state: State, path: str, kind: str, step: int) -> List[str]:
    """Load a checkpoint into the objects of the case; returns notes for the report.

    Parameters
    ----------
    path : str
        Prefix of a tensor bundle; or a `.weights.h5`, `.weights.json`, `.keras` or `.h5` file, or
        an archive that was left unzipped; or a recorded state.
    kind : str
        Value of `CheckpointFormat`.
    step : int
        Steps whose result it holds.

    Raises
    ------
    RestoreError
        When it does not fit, or nothing of the case was in it; the state is as before then.
    """
    if kind in ("safetensors", "orbax", "saved_model"):
        raise RestoreError("a replay does not load checkpoints of this format (%s)" % kind)
    if kind == "keras_archive" and Path(path).is_dir():
        # what `save(zipped=False)` leaves
        path = str(Path(path) / "model.weights.h5")
    before = state.snapshot()
    gap = None if kind in ("tensor_bundle", "recorded_state") else version_gap(path, case.model)
    try:
        if kind == "recorded_state":
            notes = load_state(case, path)
        else:
            bundle = kind == "tensor_bundle"
            notes = load_bundle(case, state, path) if bundle else _keras(case, path, step)
    except Exception as error:
        state.load(before)
        said = isinstance(error, (RestoreError, BadArchive, DoesNotFit))
        why = str(error) if said else brief(error)
        raise RestoreError(why + ("; " + gap if gap else "")) from error
    return notes + (["%s: %s" % (_tail(path), gap)] if gap else [])


def _keras(case: Case, path: str, step: int) -> List[str]:
    if case.model is None:
        raise RestoreError("a Keras weights file needs a case with model=")
    optimizer = getattr(case.model, "optimizer", None)
    with warnings.catch_warnings():
        # Keras warns that slots do not fit and goes on; it is said below
        warnings.simplefilter("ignore")
        case.model.load_weights(path)
    others: Dict[str, Any] = {
        k: v for k, v in case.restore.items() if v is not case.model and v is not optimizer
    }
    optimizers = [v for v in others.values() if hasattr(v, "apply_gradients")]
    if any(keras_api.optimizer_variables(v) for v in optimizers):
        return ["optimizer slots outside the model are not in %s" % _tail(path)]
    if optimizer is None or step == 0 or _iterations(optimizer) > 0:
        return []
    if not (path.endswith((".h5", ".hdf5")) and model_h5.load_optimizer(path, optimizer)):
        return ["%s holds no optimizer state; slots start at zero" % _tail(path)]
    return []


def _iterations(optimizer: Any) -> int:
    try:
        return int(optimizer.iterations.numpy())
    except Exception:
        return 0


def _tail(path: str) -> str:
    return path.replace("\\", "/").split("/")[-1]
