"""Trials of a run that stays finite and yet does not learn as it could."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from .. import arrays
from ..case.entry import Case, brief
from ..stepping.losses import LAST, level, noise_of
from ..stepping.state import Snapshot
from ..stepping.stepper import EndOfData, Stepper, to_tensors
from ..tracing.layers import flat
from . import data, network, rows
from .change import Change, Unfit
from .course import Runner, Tried
from .judge import CLEAR_FALL
from .step_size import ClipNorm, Controls, HigherRate, LowerRate

STEPS, MOST, SECONDS = 120, 600, 2.5
"""Steps of the baseline and of each trial, from the state that the case builds: more where steps
are cheap, as long as a run takes no more than so many seconds."""
LEAST = 50
"""Fewer steps prove nothing."""
BETTER = 0.2
"""A trial has to end at least this much (relative) below the baseline."""
NOISE = 3.0
"""And by so many typical differences of two steps."""
RIGHT = 0.1
"""Share of wrong predictions up to which there is nothing to better."""
TESTED = 8
"""Last batches on which predictions are compared with the targets."""
PROOFS = 2

Row = Dict[str, Any]


class SickTrials:
    """Runs remedies against a baseline that does not fail.

    Parameters
    ----------
    stepper : Stepper
        Runs steps in the run's own mode.
    built : Snapshot
        State to start from.
    suspicions : list of str
        Codes of the findings that make the run suspect.
    deadline : float
        `time.monotonic()` at which to stop.
    """

    def __init__(
        self, stepper: Stepper, built: Snapshot, suspicions: List[str], deadline: float
    ) -> None:
        self.stepper, self.built, self.suspicions = stepper, built, suspicions
        self.case: Case = stepper.case
        self.deadline = deadline
        self.runner = Runner(stepper, None, deadline)
        self.controls = Controls(stepper.state.optimizers)
        self._families: List[str] = []

    def run(self) -> List[Row]:
        """Every trial; empty when the baseline fails or is too short to compare with."""
        result: List[Row] = []
        try:
            with self.controls.installed():
                self.stepper.retrace()
                self.steps = self._affordable()
                self.baseline = self.runner.run(Change(), 0, self.built, self.steps - 1)
                if self.baseline.failed_at is not None or self.baseline.survived < LEAST:
                    return []
                self.end = level(self.baseline.losses[-LAST:])
                if self.end is None:
                    return []
                self.error = self._error(Change())
                result += [self._trial(make) for make in self._updates()]
            result += [self._trial(make) for make in self._others()]
        finally:
            self.stepper.retrace()
            self.stepper.state.load(self.built)
        shown = [row for row in result if row["status"] != "not_applicable"]
        return sorted(shown, key=lambda row: row["status"] != "fixed")

    def _affordable(self) -> int:
        """How many steps a run can have."""
        self.runner.run(Change(), 0, self.built, 2)
        begun = time.monotonic()
        tried = self.runner.run(Change(), 0, self.built, 19)
        each = (time.monotonic() - begun) / max(1, tried.survived)
        return int(min(MOST, max(STEPS, SECONDS / max(each, 1e-6))))

    def _updates(self) -> List[Callable[[], Change]]:
        makes: List[Callable[[], Change]] = [
            lambda: LowerRate(self.controls, 10),
            lambda: LowerRate(self.controls, 100),
            lambda: ClipNorm(self.controls),
        ]
        if "OPT002" in self.suspicions:
            makes.insert(0, lambda: HigherRate(self.controls))
        return makes

    def _others(self) -> List[Callable[[], Change]]:
        state, case = self.stepper.state, self.case
        usual = rows.usual_batches(self.stepper, 0) or [self.stepper.batch(0)]
        return [
            lambda: network.fitting_output(case, usual[0], None),
            lambda: data.Normalise(usual),
            lambda: network.ReluAndHe(case, state, self.built),
            lambda: network.ReluAndHe(case, state, self.built, adam=True),
            lambda: network.Initialise(case, state, self.built),
            lambda: network.Activations(
                "leaky_relu", "activation", network.hidden_layers(case, ("relu",)), "leaky_relu",
                "leaky_relu in place of relu in %s",
            ),
        ]  # fmt: skip

    def _trial(self, make: Callable[[], Change]) -> Row:
        assert self.end is not None
        described = "run from the built state, the loss ends at %.4g after %d steps" % (
            self.end, self.baseline.survived,
        )  # fmt: skip
        if self.error is not None:
            described += ", with %s" % _words(self.error)
        try:
            change = make()
            if time.monotonic() > self.deadline or len(set(self._families)) >= PROOFS:
                return _row(change, change.what, "not_applicable", described)
            with change.active():
                if change.retraces:
                    self.stepper.retrace()
                tried = self.runner.run(change, 0, self.built, self.steps - 1)
                error = self._error(change)
            if change.retraces:
                self.stepper.retrace()
        except Unfit as reason:
            return _row(None, str(reason), "not_applicable", described)
        except Exception as reason:
            return _row(None, brief(reason), "not_applicable", described)
        status, why = self._verdict(change, tried, error)
        row = _row(change, change.what + why, status, described)
        row.update(
            steps_survived=tried.survived,
            steps_tried=tried.survived + (tried.failed_at is not None),
            loss_before=self.end,
            loss_after=level(tried.losses[-LAST:]),
        )
        if status == "fixed":
            self._families.append(change.family)
        return row

    def _verdict(
        self, change: Change, tried: Tried, error: Optional[Tuple[str, float]]
    ) -> Tuple[str, str]:
        if tried.cut or tried.survived < min(LEAST, self.baseline.survived):
            return ("still_fails", "") if tried.failed_at is not None else ("not_applicable", "")
        if tried.failed_at is not None:
            return "still_fails", ""
        end = level(tried.losses[-LAST:])
        if end is None or self.end is None:
            return "not_applicable", ""
        if not falls(tried.losses):
            return "still_fails", " (the loss does not fall throughout)"
        margin = max(BETTER * abs(self.end), NOISE * noise_of(tried.losses[-4 * LAST :]))
        if change.comparable and self.end - end > margin and self._predicts(error):
            return "fixed", ""
        if _compared(self.error, error) > 0 and (not change.comparable or end - self.end <= margin):
            assert error is not None and self.error is not None
            return "fixed", " (judged by the predictions: %s, %s before)" % (
                _words(error), _words(self.error),
            )  # fmt: skip
        return "still_fails", " (no clear gain on the run as it is)"

    # -- what is predicted
    def _predicts(self, error: Optional[Tuple[str, float]]) -> bool:
        """Whether the predictions are better too, where they were bad and can be compared.

        A loss that falls while the predictions stay wrong is what a wrong output activation does.
        """
        if self.error is None or error is None or self.error[0] != error[0]:
            return True
        right = self.error[0] == "class" and self.error[1] < RIGHT
        compared = _compared(self.error, error)
        return compared > 0 or (compared == 0 and (right or self.error[0] != "class"))

    def _error(self, change: Change) -> Optional[Tuple[str, float]]:
        """Compare predictions with targets: share of wrong classes, or mean absolute error."""
        model, kinds, found = self.case.model, set(), []
        if model is None:
            return None
        for step in range(self.baseline.survived - TESTED, self.baseline.survived):
            try:
                batch = change.batch(step, self.stepper.batch(step))
                x, y = batch[0], np.asarray(batch[1])
                predicted = np.asarray(model(to_tensors(x), training=False))
            except (EndOfData, Exception):
                return None
            kind, error = _mistakes(arrays.widen(y), arrays.widen(predicted))
            kinds.add(kind)
            found.append(error)
        return (kinds.pop(), float(np.mean(found))) if len(kinds) == 1 else None


def _mistakes(y: Any, predicted: Any) -> Tuple[str, float]:
    classes = predicted.shape[-1] if predicted.ndim > 1 else 1
    if classes > 1 and y.size == predicted.size // classes and bool((y == np.floor(y)).all()):
        return "class", float(np.mean(predicted.argmax(-1).ravel() != y.ravel()))
    if y.size == predicted.size:
        binary = bool(np.isin(y, (0, 1)).all())
        if binary and classes > 1 and np.allclose(y.reshape(-1, classes).sum(-1), 1):
            return "class", float(
                np.mean(
                    predicted.reshape(-1, classes).argmax(-1) != y.reshape(-1, classes).argmax(-1)
                )
            )
        if binary:
            probable = bool((predicted >= 0).all() and (predicted <= 1).all())
            return "class", float(
                np.mean((predicted.ravel() > (0.5 if probable else 0.0)) != (y.ravel() > 0.5))
            )
        return "distance", float(np.mean(np.abs(predicted.ravel() - y.ravel())))
    return "none", 0.0


def _compared(before: Optional[Tuple[str, float]], after: Optional[Tuple[str, float]]) -> int:
    """1: clearly better, -1: clearly worse, 0: neither, or not to be compared."""
    if before is None or after is None or before[0] != after[0] or before[0] == "none":
        return 0
    margin = max(BETTER * before[1], 0.05 if before[0] == "class" else 0.0)
    return int(before[1] - after[1] > margin) - int(after[1] - before[1] > margin)


def _words(error: Tuple[str, float]) -> str:
    if error[0] == "class":
        return "%.0f %% of the predictions wrong" % (100 * error[1])
    return "a mean error of %.4g" % error[1]


def falls(losses: List[float]) -> bool:
    """Whether the loss falls from third to third, clearly over all of them."""
    parts = [level(list(p)) for p in np.array_split(losses, 3)]
    first, middle, last = parts
    if first is None or middle is None or last is None:
        return False
    noise = noise_of(losses)
    return first - last > CLEAR_FALL * abs(first) and last <= middle + noise


def suspicious(case: Case, batch: Any) -> bool:
    """Whether the program itself shows a loss and an output that do not belong together."""
    try:
        network.fitting_output(case, batch, None)
    except Exception:
        return False
    return bool(flat(case.model))


def _row(change: Optional[Change], what: str, status: str, baseline: str) -> Row:
    return {
        "remedy": change.remedy if change is not None else "none", "change": what,
        "status": status, "baseline": baseline,
        "steps_survived": None, "steps_tried": None, "loss_before": None, "loss_after": None,
        "rows_dropped": 0,
    }  # fmt: skip
