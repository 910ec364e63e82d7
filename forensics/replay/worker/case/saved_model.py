"""A SavedModel with a function that trains, as a case: no program is needed, only a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, FrozenSet, List, Tuple

from .. import arrays
from ..localising.graph_health import ASSIGNS
from ..stepping.randomness import op_counts
from .entry import Case, CaseError, brief

TRAINING_NAMES = ("train", "train_step", "fit", "training", "step")
_PARTS = ("x", "y", "sample_weight")


class SavedStep:
    """A training function of a SavedModel, called with the parts of a batch by name.

    Parameters
    ----------
    name : str
        Its signature, or the attribute that holds it.
    function : ConcreteFunction
        What is called.
    """

    def __init__(self, name: str, function: Any) -> None:
        self.name, self.function = name, function
        self.inputs = _named_inputs(function)

    def __call__(self, batch: Any) -> Any:
        """Run one training step; returns what the function does."""
        given = [batch[name] for name in self.inputs]
        # signatures take keywords and other functions positions; flat inputs suit both
        return self.function._call_flat(given, self.function.captured_inputs)

    def taken(self, given: Dict[str, Any]) -> Dict[str, Any]:
        """Tensors for the inputs, by their names; a batch with other names is taken in order.

        Raises
        ------
        CaseError
            When the batch has other parts than the function takes.
        """
        import tensorflow as tf

        names = list(given)
        if set(self.inputs) <= set(names):
            names = list(self.inputs)
        elif len(names) == len(self.inputs):
            names.sort(key=lambda n: (_PARTS.index(n) if n in _PARTS else len(_PARTS), n))
        else:
            raise CaseError(
                "%s takes %s, the batch holds %s"
                % (self.name, ", ".join(self.inputs), ", ".join(names))
            )
        try:
            return {
                wanted: tf.cast(given[name], dtype)
                for (wanted, dtype), name in zip(self.inputs.items(), names)
            }
        except Exception as error:
            raise CaseError("the batch does not fit %s: %s" % (self.name, brief(error))) from error


def saved_model_case(folder: str, batch: Any) -> Case:
    """Load a SavedModel and make one of its functions the training step.

    Parameters
    ----------
    folder : str
        The SavedModel's. Loading runs code of its graphs (assets, initialisers, never Python).
    batch : nested arrays
        The batch of the step.

    Raises
    ------
    CaseError
        When no function of it trains, or the batch does not fit.
    """
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(folder)
    except Exception as error:
        raise CaseError("%s cannot be loaded: %s" % (Path(folder).name, brief(error))) from error
    step = _training_step(loaded)
    given = step.taken(dict(arrays.leaves(batch)))
    case = Case({"step": step, "batch": lambda number: given if number == 0 else None})
    case.owner, case.opaque = loaded, True
    case.layer_names = _layer_names(step.function)
    return case


def _training_step(loaded: Any) -> SavedStep:
    """Choose the function that assigns variables; of several the one with a telling name."""
    functions = _functions(loaded)
    training = [(name, f) for name, f in functions if _assigns(f)]
    if not training:
        held = ", ".join(name for name, _ in functions) or "none"
        raise CaseError("no function of the SavedModel changes a variable (it has: %s)" % held)
    training.sort(key=lambda pair: _preference(pair[0]))
    return SavedStep(*training[0])


def _preference(name: str) -> Tuple[int, str]:
    place = TRAINING_NAMES.index(name) if name in TRAINING_NAMES else len(TRAINING_NAMES)
    return place, name


def _functions(loaded: Any) -> List[Tuple[str, Any]]:
    """Signatures first, then the concrete functions of every `tf.function` that was saved."""
    found: List[Tuple[str, Any]] = list(getattr(loaded, "signatures", {}).items())
    for name in sorted(vars(loaded)):
        concrete = getattr(getattr(loaded, name, None), "concrete_functions", None)
        found.extend((name, function) for function in concrete or ())
    return found


def _assigns(function: Any) -> bool:
    counts = op_counts(function.graph.as_graph_def())
    return any(op.startswith(ASSIGNS) for op in counts)


def _named_inputs(function: Any) -> Dict[str, Any]:
    """Return the inputs by name with their dtypes, in order, captured variables left out."""
    captured = len(function.captured_inputs)
    own = function.inputs[: len(function.inputs) - captured]
    return {tensor.op.name: tensor.dtype for tensor in own}


def _layer_names(function: Any) -> FrozenSet[str]:
    """Names of layers, as the scopes of the variables that the function uses say them."""
    names: List[str] = []
    for variable in getattr(function.graph, "variables", ()):
        names.extend(str(variable.name).split(":")[0].split("/")[:-1])
    return frozenset(names)
