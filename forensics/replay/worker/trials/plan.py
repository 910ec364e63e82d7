"""Which remedies are tried, in which order: what the origin suggests comes first."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

from ..arrays import leaves
from ..case.entry import brief
from ..stepping.state import Snapshot
from ..stepping.stepper import Stepper
from . import data, network, rows
from .change import Change, Unfit
from .course import Runner
from .logits import FromLogits
from .operations import SafeForm, overflows
from .optimizer import HoldRate, JitOff, LargerEpsilon, ResetSlots
from .precision import Float32
from .step_size import EARLY, ClipNorm, ClipValue, Controls, LowerRate, WarmUp

NEGATIVE = 1e-3
"""An operand of a logarithm below minus this is no rounding of 0."""
ROSE = 1.5
"""A rate this many times as high as where the loss was lowest has risen."""

_ORDER = {
    "input": ("bad_rows", "culprits"),
    "labels": ("safe", "culprits", "bad_rows"),
    "half": ("float32", "match", "logits", "safe", "stronger", "outliers", "normalise", "culprits"),
    "optimizer": ("outliers", "slots", "epsilon", "initialise", "bounded", "normalise", "culprits"),
    "growth": (
        "outliers", "schedule", "targets", "initialise", "bounded", "safe", "stronger",
        "normalise", "match", "culprits",
    ),
    "domain": (
        "logits", "match", "safe", "stronger", "outliers", "normalise", "initialise", "culprits",
    ),
    "state": ("slots", "bad_rows", "outliers", "culprits"),
}  # fmt: skip
_FITTING = {
    "input": ("bad_rows",), "labels": ("safe",), "half": ("float32", "match"),
    "optimizer": ("outliers",), "state": ("slots",),
    "growth": ("outliers", "schedule", "targets", "initialise", "bounded"),
    "domain": ("logits", "match", "safe"),
}  # fmt: skip
"""What is tried in any case, because it belongs to the cause."""
_ALL = (
    "bad_rows", "float32", "match", "safe", "stronger", "outliers", "schedule", "normalise",
    "initialise", "bounded", "targets", "slots", "epsilon", "jit", "culprits",
)  # fmt: skip
_SILENT = (
    "logits",
    "stronger",
    "schedule",
    "bounded",
    "epsilon",
    "jit",
    "targets",
    "slots",
    "match",
)
"""Remedies of which nothing is said where they do not apply."""
_NAMES = {
    "bad_rows": ("drop_bad_rows", "rows with NaN or Inf left out"),
    "float32": ("float32", "float32 in place of half precision"),
    "logits": ("from_logits", "log of probabilities computed from the logits"),
    "match": ("match_loss", "output activation that belongs to the loss"),
    "safe": ("safe_form", "safe form of the first bad op"),
    "stronger": ("safe_form", "stronger safe form of the first bad op"),
    "outliers": ("drop_outliers", "rows far out left out"),
    "schedule": ("learning_rate_schedule", "learning rate held"),
    "normalise": ("normalise_inputs", "inputs brought to unit scale"),
    "targets": ("normalise_targets", "targets brought to unit scale"),
    "initialise": ("he_initialisation", "kernels drawn anew"),
    "bounded": ("bounded_recurrence", "tanh in recurrent layers"),
    "slots": ("reset_slots", "optimizer slots started anew"),
    "epsilon": ("larger_epsilon", "larger epsilon of the optimizer"),
    "jit": ("jit_off", "compiled without XLA"),
    "culprits": ("drop_culprit_rows", "rows that make a step fail left out"),
}


class Wish:
    """A remedy to be tried, or why it cannot be."""

    def __init__(
        self, remedy: str, what: str, change: Optional[Change], optional: bool = True,
        last_resort: bool = False,
    ) -> None:  # fmt: skip
        self.remedy, self.what, self.change = remedy, what, change
        self.optional, self.last_resort = optional, last_resort


class Plan:
    """Remedies for one failure."""

    def __init__(
        self, stepper: Stepper, failure: Any, origins: List[Dict[str, Any]], built: Snapshot,
        controls: Controls, runner: Runner, start: int, logged: List[List[float]],
    ) -> None:  # fmt: skip
        self.logged = logged
        self.stepper, self.failure, self.built = stepper, failure, built
        self.controls, self.runner, self.start = controls, runner, start
        self.origin = origins[0] if origins else None
        self.case, self.state = stepper.case, stepper.state

    @property
    def kind(self) -> Optional[str]:
        """What kind of failure the origin is; None when it tells nothing."""
        origin, outcome = self.origin, self.failure.outcome
        if origin is None:
            return "growth" if self.failure.symptom == "diverged" else None
        op, phase = origin.get("op_type"), origin.get("phase")
        if phase == "input":
            return "input"
        if op in ("SparseSoftmaxCrossEntropyWithLogits", "GatherV2", "Gather", "ResourceGather"):
            return "labels"
        if origin.get("dtype") in ("float16", "half", "bfloat16"):
            return "half"
        if phase == "state":
            return "state"
        if phase == "optimizer":
            return "optimizer"
        if outcome.error is None and overflows(origin):
            return "growth"
        return "domain"

    def updates(self) -> List[Wish]:
        """Remedies of the update, all of which the traced step holds already; run every time."""
        controls = self.controls
        if controls.by_tape and not _uses_tape():
            return []
        changes: List[Change] = [LowerRate(controls, 10), ClipNorm(controls)]
        more: List[Change] = [ClipValue(controls), LowerRate(controls, 100)]
        if self.failure.step <= EARLY and self.start == 0:
            more.append(WarmUp(controls))
        return [Wish(c.remedy, c.what, c, optional=False) for c in changes] + [
            Wish(c.remedy, c.what, c, optional=self.kind in ("domain", "input", "labels"))
            for c in more
        ]

    def lower_still(self, rows: List[Dict[str, Any]]) -> Optional[Wish]:
        """Return a lower rate where the lowest so far only delayed the failure."""
        said = {row["remedy"]: row["status"] for row in rows}
        for divisor in (1000, 10000):
            before = said.get("learning_rate_div_%d" % (divisor // 10))
            if before == "delayed" and "learning_rate_div_%d" % divisor not in said:
                change = LowerRate(self.controls, divisor)
                return Wish(change.remedy, change.what, change)
        return None

    def rest(self) -> List[Wish]:
        """All other remedies, in the order in which they are likely to help."""
        first = _ORDER.get(self.kind or "", ())
        wishes: List[Wish] = []
        for key in (*first, *(k for k in _ALL if k not in first)):
            remedy, what = _NAMES[key]
            try:
                if self._masks(key) and any(w.change and w.remedy == "match_loss" for w in wishes):
                    raise Unfit("its operand is negative: a bound would hide that")
                change = self._make()[key]()
                fitting = key in _FITTING.get(self.kind or "", ()) and not self._masks(key)
                wishes.append(
                    Wish(
                        change.remedy,
                        change.what,
                        change,
                        not fitting,
                        bool(first) and key not in first,
                    )
                )
            except Unfit as error:
                if key not in _SILENT:
                    wishes.append(Wish(remedy, "%s (%s)" % (what, error), None))
            except Exception as error:
                wishes.append(Wish(remedy, "%s (%s)" % (what, brief(error)), None))
        return wishes

    def _masks(self, key: str) -> bool:
        """Whether a remedy would only hide that an operand has the wrong sign: log of -2."""
        origin = self.origin or {}
        logarithm = "Log" in (origin.get("op_type"), origin.get("forward_op_type"))
        lowest = min((s.get("min", 0.0) for s in origin.get("inputs") or ()), default=0.0)
        return key in ("safe", "stronger") and logarithm and lowest < -NEGATIVE

    def _make(self) -> Dict[str, Callable[[], Change]]:
        return {
            "bad_rows": lambda: rows.non_finite_rows(self._suspects()[-1], self._usual()),
            "float32": lambda: Float32(
                self.case, self.state, (self.origin or {}).get("dtype"), self.failure.batch
            ),
            "logits": lambda: FromLogits(self.origin),
            "match": lambda: network.fitting_output(self.case, self.failure.batch, self.origin),
            "safe": lambda: self._safe(0),
            "stronger": lambda: self._safe(1),
            "outliers": lambda: rows.far_rows(self._suspects(), self._usual()),
            "schedule": self._held,
            "normalise": lambda: data.Normalise(self._usual()),
            "targets": lambda: data.Normalise(self._usual(), targets=True),
            "initialise": lambda: network.Initialise(self.case, self.state, self.built),
            "bounded": lambda: network.Activations(
                "bounded_recurrence", "activation", network.recurrent_layers(self.case), "tanh",
                "tanh in place of an unbounded activation in the recurrent %s",
            ),
            "slots": lambda: ResetSlots(
                self.state, self.built, self.failure.trial_start[1]
            ),
            "epsilon": lambda: LargerEpsilon(self.state.optimizers),
            "jit": lambda: JitOff(self.stepper),
            "culprits": lambda: rows.WithoutCulprits(
                self.runner, self._good(), self.failure.batch,
                self.state.bad(self.failure.trial_start[1]),
            ),
        }  # fmt: skip

    def _safe(self, strength: int) -> SafeForm:
        if self.origin is None:
            raise Unfit("no op was named")
        return SafeForm(self.origin, strength)

    def _held(self) -> HoldRate:
        """Find the rate at which the loss was lowest, where a schedule has raised it since."""
        for optimizer in self.state.optimizers:
            schedule = getattr(optimizer, "_learning_rate", None)
            if not callable(schedule) or hasattr(schedule, "dtype"):
                continue
            best = self._lowest()
            if best is None:
                break
            rates = {s: float(schedule(s)) for s in (best, self.failure.step)}
            if rates[self.failure.step] > ROSE * rates[best] > 0:
                return HoldRate(self.state.optimizers, rates, best)
        raise Unfit("no schedule raises the rate")

    def _lowest(self) -> Optional[int]:
        """Step of the lowest loss before the failure, by the log and by the replay."""
        losses = self.failure.losses
        first = self.failure.step - len(losses)
        known = {int(step): loss for step, loss in self.logged if step < self.failure.step}
        known.update({first + i: loss for i, loss in enumerate(losses)})
        return min(known, key=lambda step: known[step]) if known else None

    # -- batches
    def _usual(self) -> List[Any]:
        found = rows.usual_batches(self.stepper, self.failure.step)
        return [b for b in found if leaves(b)] or [self.failure.batch]

    def _suspects(self) -> List[Any]:
        """Batches that were trained on since the start of the trials."""
        first = max(self.start, self.failure.step - rows.REFERENCE)
        return [self.stepper.batch(s) for s in range(first, self.failure.step + 1)]

    def _good(self) -> Optional[Any]:
        if self.failure.healthy is not None:
            return self.failure.healthy[1]
        usual = [b for b in self._usual() if b is not self.failure.batch]
        return usual[0] if usual else None


def _uses_tape() -> bool:
    """Whether this TensorFlow's tape can be wrapped."""
    try:
        from tensorflow.python.eager.backprop import GradientTape

        return hasattr(GradientTape, "gradient")
    except ImportError:
        return False
