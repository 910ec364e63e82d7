"""What a tag means. Tags are free text: decided word by word, not by one pattern per program.

The Keras TensorBoard callback writes ``batch_*``, ``epoch_*`` and ``evaluation_*_vs_iterations``;
custom loops write whatever their authors liked (``train/grad_norm``, ``Gradient_norm``,
``gradients/dense/kernel_norm``, ``loss_1``, ...).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from forensics.domain.quantity import Quantity
from forensics.sources import tag_words as w


class Counting(Enum):
    """What the tag says its steps count."""

    EPOCHS = "epochs"
    """By the convention of Keras: ``epoch_*``."""
    MAYBE_EPOCHS = "maybe_epochs"
    """The word stands elsewhere; Lightning's ``*_epoch`` for one is logged at batch steps."""
    BATCHES_OF_KERAS = "batches_of_keras"
    """``batch_*``: counted from 1 by the stock callback."""
    ITERATIONS = "iterations"
    """``evaluation_*_vs_iterations``: the number of batches done so far."""
    BATCHES_FROM_0 = "batches_from_0"
    """Known to be indices of batches, whatever their tag says."""
    UNSAID = "unsaid"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What is known of a series from its tag and writer alone."""

    quantity: Quantity
    counting: Counting
    layer: str | None = None


def meaning(tag: str, writer: str = ".") -> Meaning:
    """Classify a tag.

    Parameters
    ----------
    tag : str
        As written.
    writer : str
        Sub-directory that holds it: ``loss`` below ``validation`` is a validation loss.
    """
    return _meaning(tag, _is_validation(tag, writer))


@lru_cache(maxsize=4096)
def _meaning(tag: str, validation: bool) -> Meaning:
    """Hundreds of runs have the same few tags."""
    found = w.words(tag)
    quantity, layer = _measured(tag, found, validation)
    return Meaning(quantity, _counting(tag, found), layer)


def is_residual(tag: str, writer: str) -> bool:
    """Whether the tag names a metric that may stand for a training loss that was not logged."""
    return _names_residual(tag) and not _is_validation(tag, writer)


@lru_cache(maxsize=4096)
def _names_residual(tag: str) -> bool:
    found = w.words(tag)
    return w.head(found) in w.RESIDUAL or w.has_pair(found, "squared", frozenset({"error"}))


def _counting(tag: str, found: tuple[str, ...]) -> Counting:
    last = tag.rsplit("/", 1)[-1]
    if last.startswith("evaluation_") and last.endswith("_vs_iterations"):
        return Counting.ITERATIONS
    if "epoch" in found and len(found) > 1:
        convention = last.startswith(("epoch_", "epoch/")) or tag.startswith("epoch_")
        return Counting.EPOCHS if convention else Counting.MAYBE_EPOCHS
    return Counting.BATCHES_OF_KERAS if tag.startswith("batch_") else Counting.UNSAID


def _is_validation(tag: str, writer: str) -> bool:
    """Whether the tag says so, or else the innermost directory that says anything."""
    said = _split_of(tag)
    if said is None:
        said = _split_of_writer(writer)
    return bool(said)


@lru_cache(maxsize=4096)
def _split_of_writer(writer: str) -> bool | None:
    said = (_split_of(part) for part in reversed(writer.split("/")))
    return next((split for split in said if split is not None), None)


@lru_cache(maxsize=4096)
def _split_of(name: str) -> bool | None:
    """Tell validation (True) from training (False); None where a name says neither."""
    found = w.words(name)
    if w.VALIDATION.intersection(found):
        return True
    return False if w.TRAIN.intersection(found) else None


def _measured(tag: str, found: tuple[str, ...], validation: bool) -> tuple[Quantity, str | None]:
    present = frozenset(found)
    if _has_learning_rate(found):
        changed = w.head(found) in w.SIZE_OF_SOMETHING_ELSE
        return (Quantity.OTHER if changed else Quantity.LEARNING_RATE), None
    if w.has_pair(found, "loss", w.SCALE) or ("scaler" in present and "scale" in present):
        return (Quantity.LOSS_SCALE if w.head(found) in w.SCALE else Quantity.OTHER), None
    if w.UPDATE & present and w.RATIO & present:
        return Quantity.UPDATE_RATIO, layer_of(tag, w.UPDATE | w.RATIO | _WEIGHT | {"to"})
    measured = _norm(tag, found) or _activation(tag, present)
    if measured is not None:
        return measured
    if _is_loss(found):
        if present & {"best", "min", "lowest", "scaled"}:
            return Quantity.METRIC, None
        return (Quantity.VALIDATION_LOSS if validation else Quantity.TRAIN_LOSS), None
    if "per" in present and "second" in "".join(found):
        return Quantity.OTHER, None
    of_keras = tag.startswith(("batch_", "epoch_", "evaluation_"))
    if w.METRIC & present or of_keras or w.VALIDATION & present:
        return Quantity.METRIC, None
    return Quantity.OTHER, None


def _has_learning_rate(found: tuple[str, ...]) -> bool:
    return (
        "lr" in found
        or "learningrate" in found
        or w.has_pair(found, "learning", frozenset({"rate"}))
    )


def _is_loss(found: tuple[str, ...]) -> bool:
    named = w.LOSS.intersection(found) or w.has_pair(found, "cross", frozenset({"entropy"}))
    return bool(named) and w.head(found) not in w.SIZE_OF_SOMETHING_ELSE


def _norm(tag: str, found: tuple[str, ...]) -> tuple[Quantity, str | None] | None:
    """Recognise a norm of gradients or weights; OTHER for something else about them."""
    own = _without_layer_names(found)
    gradient = bool(w.GRADIENT & own)
    normed = bool(w.NORM & own)
    if not gradient and not (normed and (w.WEIGHT & own or "global" in own)):
        return None
    if w.head(found) in w.LOSS:
        return None
    if gradient or not w.WEIGHT & own:
        quantity, main = Quantity.GRADIENT_NORM, w.GRADIENT
    else:
        quantity, main = Quantity.WEIGHT_NORM, _WEIGHT
    if w.UPDATE & own:
        return Quantity.OTHER, None
    layer = layer_of(tag, main | w.NORM)
    # Without the word norm, only a tag per layer (grads/dense/kernel) is one.
    per_layer = layer is not None and any(
        main.intersection(w.words(part)) and _is_pure(part, main) for part in tag.split("/")
    )
    if _is_statistic(tag, main | w.NORM, layer) or not (normed or per_layer):
        return Quantity.OTHER, None
    return quantity, layer


def _is_statistic(tag: str, own: frozenset[str], layer: str | None) -> bool:
    """Whether a tag names something about norms or gradients: a mean, a limit, a count."""
    parts = [w.words(part) for part in tag.split("/")]
    named = next((part for part in parts if own.intersection(part)), ("",))
    beside = frozenset(w.words(tag)) - frozenset(w.words(layer or ""))
    return bool(
        named[0] in w.STATISTIC
        or w.STATISTIC & beside
        or (parts[-1] and parts[-1][-1] in w.STATISTIC)
    )


def _activation(tag: str, present: frozenset[str]) -> tuple[Quantity, str | None] | None:
    activation = w.ACTIVATION & present
    dead = "sparsity" in present or (w.ZERO & present and present & {"fraction", "relu", "relus"})
    if dead or (activation and w.ZERO & present):
        own = w.ACTIVATION | w.ZERO | {"fraction"}
        return Quantity.ACTIVATION_ZERO_FRACTION, layer_of(tag, own)
    if activation and w.SPREAD & present:
        return Quantity.ACTIVATION_STD, layer_of(tag, w.ACTIVATION | w.SPREAD)
    if activation and w.MEAN & present:
        return Quantity.ACTIVATION_MEAN, layer_of(tag, w.ACTIVATION | w.MEAN)
    return None


_WEIGHT = w.WEIGHT - {"kernel", "kernels"}
"""Words for weights that are no variable's own name."""
_NORM_LAYERS = frozenset({"layer", "batch", "group", "instance", "rms"})


def _without_layer_names(found: tuple[str, ...]) -> frozenset[str]:
    """Words of a tag, where ``norm`` as in ``layer_norm`` is left out."""
    kept = [
        word
        for before, word in zip(("", *found), found, strict=False)
        if not (word == "norm" and before in _NORM_LAYERS)
    ]
    return frozenset(kept)


def layer_of(tag: str, own: frozenset[str]) -> str | None:
    """Take the words of its quantity off a tag: what remains is the layer or variable, or None.

    Parameters
    ----------
    own : frozenset of str
        Words of the quantity. They are taken off whole leading parts (between slashes) and off
        both ends of the rest, not out of the middle: layers have words of their own.

    Examples
    --------
    >>> layer_of("grad_norm/sequential/fc/kernel", frozenset({"grad", "norm"}))
    'sequential/fc/kernel'
    """
    parts = tag.split("/")
    if any("global" in found and own.intersection(found) for found in map(w.words, parts)):
        # A global norm is one over many variables, whatever scope its operation stands in.
        return None
    parts = _after_a_scope(parts, own)
    seen: set[str] = set()
    while parts and _is_pure(parts[0], own):
        complete = bool(seen & own - w.NORM) and bool(seen & w.NORM)
        if complete and not all(_is_pure(part, own) for part in parts):
            break
        seen.update(w.words(parts.pop(0)))
    rest = "/".join(parts)
    found = w.spans(rest)
    begin, end = 0, len(rest)
    if not seen & own:
        for word, _, stop in found:
            if word in own:
                begin = stop
                seen.add(word)
            elif not word.isdigit():
                break
    for index in range(len(found) - 1, -1, -1):
        word, start, _ = found[index]
        before = found[index - 1][0] if index else ""
        if word not in own or word in seen or (word == "norm" and before in _NORM_LAYERS):
            break
        end = start
        seen.add(word)
    return rest[begin:end].strip("/_-. |") or None


def _after_a_scope(parts: list[str], own: frozenset[str]) -> list[str]:
    """Take off what stands before the words of the quantity if the layer stands behind them.

    TensorFlow 1 puts the scope of an operation first (``OptimizeLoss/gradient_norm/dense/kernel``).
    """
    for index in range(1, len(parts) - 1):
        named = own.intersection(w.words(parts[index]))
        if named & own - w.NORM and named & w.NORM and _is_pure(parts[index], own):
            return parts[index:]
    return parts


def _is_pure(part: str, own: frozenset[str]) -> bool:
    found = w.words(part)
    known = [word for word in found if word in own or word in w.CONTEXT]
    return bool(known) and all(word in known or word.isdigit() for word in found)
