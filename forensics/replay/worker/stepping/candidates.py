"""What can make the replay differ from the run, evaluated from facts: nothing is guessed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Iterator, List, Optional

from .. import arrays
from ..case.entry import Case
from ..tracing.layers import flat
from . import modes
from .calls import watching
from .randomness import of_graphs
from .stepper import EndOfData, Stepper

if TYPE_CHECKING:
    from .search import Search

UNKNOWN = "nothing of what was looked at: %s"


def candidates(case: Case, stepper: Stepper, search: Search) -> List[str]:
    """Differences that are there or cannot be excluded; each says which fact it rests on."""
    found = [*_data_order(case, stepper), *_missing_state(case, search), *_engine(case, stepper)]
    if case.recording is None:
        found.append(_device())
    return found or [UNKNOWN % "data order, state, random ops, precision and device"]


def _data_order(case: Case, stepper: Stepper) -> Iterator[str]:
    """Ask for a shuffle in the data set, or a batch function that answers anew each time."""
    if case.recording is not None:
        return
    if case.opaque:
        yield "another batch: only the one that was given was tried, from the state that was saved"
        return
    if case.batch is None:
        if shuffles(case.dataset):
            yield "another data order: dataset= shuffles"
        return
    with contextlib.suppress(EndOfData, Exception):
        stepper.state.load(stepper.state.snapshot())
        if not _alike(case.batch(0), case.batch(0)):
            yield "other data: batch(0) answered two different batches"
            return
    yield (
        "another data order: batch= decides it, and nothing recorded tells which batch the run "
        "saw at a step"
    )


def shuffles(dataset: Any) -> bool:
    """Whether a `tf.data` pipeline shuffles, at any of its stages."""
    seen: List[Any] = []
    todo = [dataset]
    while todo and len(seen) < 1000:
        stage = todo.pop()
        if stage is None or any(stage is s for s in seen):
            continue
        seen.append(stage)
        if "shuffle" in type(stage).__name__.lower():
            return True
        with contextlib.suppress(Exception):
            todo.extend(stage._inputs())
        todo.append(getattr(stage, "_dataset", None))
    return False


def _alike(one: Any, two: Any) -> bool:
    first, second = arrays.leaves(one), arrays.leaves(two)
    return len(first) == len(second) and all(
        n == m and a.shape == b.shape and a.tobytes() == b.tobytes()
        for (n, a), (m, b) in zip(first, second)
    )


def _missing_state(case: Case, search: Search) -> Iterator[str]:
    """State that the start did not hold: slots, seeds, or everything."""
    missing = [note for note in search.notes if "slots" in note or "kept their built" in note]
    yield from ("missing state: " + note for note in missing)
    if search.started_from is None and case.recording is None and not case.opaque:
        yield "another state: the replay started from what the case builds, not from a checkpoint"
    seeded = sorted({layer.name for layer in _layers(case) if _has_seed(layer)})
    if seeded and case.recording is None:
        held = "no checkpoint of Keras holds" if search.started_from else "the run did not leave"
        yield "other random numbers: %s the seeds of %s" % (held, ", ".join(seeded[:5]))


def _layers(case: Case) -> List[Any]:
    models = [case.model, *case.restore.values()]
    return [layer for model in models for layer in flat(model)]


def _has_seed(layer: Any) -> bool:
    return getattr(layer, "seed_generator", None) is not None and bool(
        getattr(layer, "rate", None) or "random" in type(layer).__name__.lower()
        or "noise" in type(layer).__name__.lower()
    )  # fmt: skip


def _engine(case: Case, stepper: Stepper) -> Iterator[str]:
    """Random ops, compiled fusion, low precision: what the step executes, as one run shows."""
    import tensorflow as tf

    before = stepper.state.snapshot()
    with watching() as calls, contextlib.suppress(EndOfData):
        stepper.own(stepper.batch(0))
    stepper.state.load(before)
    mode = calls.mode() or modes.configured(stepper)
    random_ops = of_graphs(calls.graphs(), fed=case.step is None)
    if random_ops:
        yield "random ops that no snapshot restores: " + ", ".join(random_ops)
    if mode == modes.JIT:
        yield "compiled fusion: XLA fuses by device and version"
    half = half_precision(case)
    if half is not None:
        yield "%s, whose rounding and range differ by device" % half
    if tf.config.list_physical_devices("GPU") and (
        tf.config.experimental.tensor_float_32_execution_enabled()
    ):
        yield "TensorFloat-32 is on here: matrix products have ten bits of mantissa"


def half_precision(case: Case) -> Optional[str]:
    """Compute dtype of the first layer that computes in half precision."""
    for layer in _layers(case):
        dtype = str(getattr(layer, "compute_dtype", ""))
        if dtype in ("float16", "bfloat16"):
            return "%s in layer %s" % (dtype, layer.name)
    return None


def _device() -> str:
    """Device of the replay: that of a run which did not record it may be another one."""
    import tensorflow as tf

    here = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    return "another device: the run's is not recorded, the replay used a %s" % here
