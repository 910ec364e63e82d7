"""Which rows of the failing batch are guilty: asked of the step itself, from the same state."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Tuple

from ..case.entry import Case
from ..localising.localise import batch_rows
from ..stepping.contradiction import rising
from ..stepping.losses import healthy_level
from ..stepping.stepper import EndOfData, Outcome, Stepper
from ..tracing.layers import flat
from .row_origins import origins_of_groups
from .row_search import RowSearch
from .rows_found import RowsFound
from .subsets import BatchRows

if TYPE_CHECKING:
    from ..stepping.failure import Failure

SECONDS, SHARE, LARGEST_SHARE = 15.0, 0.1, 0.3
"""Time for the rows: a tenth of what is left, but 15 s where that is no more than 30 % of it."""

GROWN = 10.0
"""A last loss this many times its healthy level: no batch of its own is needed to fail."""


def guilty_rows(case: Case, stepper: Stepper, failure: Failure, deadline: float) -> Dict[str, Any]:
    """Find the rows that make a step fail; returns fields of the answer.

    Parameters
    ----------
    case, stepper : Case, Stepper
        What is run.
    failure : Failure
        The step, the state before it, its batch.
    deadline : float
        `time.monotonic()` of the whole replay; this part takes a share of what is left.
    """
    left = max(0.0, deadline - time.monotonic())
    end = time.monotonic() + min(max(SECONDS, SHARE * left), LARGEST_SHARE * left)
    traced = list(failure.found.rows) if failure.found is not None else []
    why_not = _beside_the_point(stepper, failure)
    if why_not is not None:
        found = RowsFound()
        found.notes.append(why_not)
        return found.fields()
    if batch_rows(failure.batch) != BatchRows(failure.batch).count:
        traced = []
    tied = _tied(stepper, failure)
    if tied:
        found = RowsFound()
        found.samples = traced
        found.notes.append(
            "rows were not exchanged: %s has no row for each row of the batch, and belongs to just "
            "these; they are named by the trace alone" % ", ".join(tied)
        )
        return found.fields()
    search = RowSearch(stepper, failure.before, failure.batch, like(failure.outcome), end)
    found = search.run(traced, _other_batches(stepper, failure))
    if not found.culprits and _in_the_data(failure):
        # seen in the batch itself: they are bad whether or not others are too
        found.samples = traced
    found.notes.extend(origins_of_groups(search, failure, found.culprits))
    if found.samples and _growing(failure.losses):
        found.notes.append(
            "the loss had grown to %.3g before this step already: these rows are only the first "
            "to overflow" % failure.losses[-1]
        )
    coupled = batch_norms(case)
    if coupled:
        found.notes.append(
            "BatchNormalization couples the rows of this batch (%s): other rows can hide a guilty "
            "one, and so can leaving them out" % ", ".join(coupled)
        )
    return found.fields()


def _beside_the_point(stepper: Stepper, failure: Failure) -> Optional[str]:
    """Why no row of this batch can be guilty."""
    if failure.symptom == "diverged":
        return "rows were not asked: the loss grew over many steps, not by one batch"
    bad = list(stepper.state.bad(failure.before))
    if bad:
        return "no row makes the difference: the state was bad before the step (%s)" % bad[0]
    return None


def _tied(stepper: Stepper, failure: Failure) -> List[str]:
    """Parts that forbid to put rows of another batch among those of this one."""
    rows = BatchRows(failure.batch)
    other = next(_other_batches(stepper, failure), None)
    return rows.tied_to(other[1]) if rows.count and other is not None else []


def _in_the_data(failure: Failure) -> bool:
    origin = failure.found.origin if failure.found is not None else None
    return origin is not None and origin["phase"] == "input"


def _growing(losses: List[float]) -> bool:
    level, _ = healthy_level(losses)
    if level is None:
        return False
    return rising(losses) or losses[-1] > GROWN * abs(level)


def _other_batches(stepper: Stepper, failure: Failure) -> Iterator[Tuple[str, Any]]:
    """Batches beside the failing one that may be good, fetched one at a time."""
    if failure.healthy is not None:
        yield "the last healthy batch", failure.healthy[1]
    for step in (failure.step + 1, failure.step - 1):
        if step < 0:
            continue
        with contextlib.suppress(EndOfData):
            yield "the batch of step %d" % step, stepper.batch(step)


def like(failed: Outcome) -> Callable[[Outcome], bool]:
    """Whether an outcome is the same failure: the same error, or a non-finite value."""
    if failed.error is None:
        return lambda outcome: outcome.symptom in ("loss", "state")
    kind = type(failed.error)
    return lambda outcome: type(outcome.error) is kind


def batch_norms(case: Case) -> List[str]:
    """Names of the batch normalisations that use the statistics of the batch."""
    models = [case.model, *case.restore.values()]
    layers = {id(layer): layer for model in models for layer in flat(model)}
    return sorted(
        str(layer.name)
        for layer in layers.values()
        if "BatchNorm" in type(layer).__name__ and getattr(layer, "trainable", True)
    )
