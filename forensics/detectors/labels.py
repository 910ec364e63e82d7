"""DAT003: a label or id outside its range."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from forensics.detectors.base import Example, not_observed
from forensics.detectors.data_scale import is_target
from forensics.detectors.scenes import origin, part, replayed, tensor
from forensics.detectors.settings import Settings
from forensics.domain.evidence import OpEvidence
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import StepAxis
from forensics.domain.replay import Attempt, Origin, Phase, ReplayResult
from forensics.domain.run import TensorKind
from forensics.domain.scene import Scene

_SPARSE_LOSSES = ("SparseSoftmaxCrossEntropyWithLogits",)
_MESSAGES = re.compile(
    r"label value|outside the valid range|valid range of \[0|labels? .*out of (?:range|bounds)"
    r"|indices\[.*\] = -?\d+ is not in \[0, \d+\)|class (?:index|id) .*(?:range|bounds)",
    re.IGNORECASE | re.DOTALL,
)
_DOMAINS = {
    **dict.fromkeys(
        (
            "binary_crossentropy",
            "binary_focal_crossentropy",
            "categorical_crossentropy",
            "categorical_focal_crossentropy",
            "kl_divergence",
        ),
        (0.0, 1.0),
    ),
    "poisson": (0.0, float("inf")),
}
"""Targets that a Keras loss takes: probabilities, or counts."""
_DOMAIN_OPS = frozenset(
    {"Log", "Log1p", "Lgamma", "Sqrt", "Rsqrt", "Pow", "Xlogy", "Xlog1py", "Digamma"}
)


@dataclass(frozen=True)
class LabelOutOfRange:
    """A class index is not in [0, C), or a target lies outside the domain of its loss.

    **Why it is bad.** The same labels raise an error on the CPU, give a NaN loss on a GPU or under
    XLA, and read a foreign row of a table elsewhere: the run is wrong even where it does not stop.

    **What it says.** An error when the replayed step raised the message of such a label in any
    mode, when an integer target of a sparse cross-entropy is not among the output units, when a
    target of a compiled cross-entropy is no probability or one of a Poisson loss is negative (the
    loss stays finite then and falls without a bound), when the fused sparse cross-entropy made NaN
    out of finite logits, or when an op of the loss left its domain on values that are the batch's
    own targets.

    Parameters
    ----------
    tolerance : float
        Relative difference below which an operand's extreme is taken for the target's, default
        1e-6.

    References
    ----------
    .. [1] TensorFlow, ``tf.nn.sparse_softmax_cross_entropy_with_logits``: labels outside the range
       raise on the CPU and give NaN on the GPU.
    .. [2] Keras, "Probabilistic losses": targets of the cross-entropies are 0 or 1 or
       probabilities, those of ``Poisson`` are counts.
    """

    tolerance: float = 1e-6

    code: ClassVar[str] = "DAT003"
    name: ClassVar[str] = "label-out-of-range"
    requires: ClassVar[tuple[str, ...]] = ("replay",)
    needs_replay: ClassVar[bool] = True

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report a label that cannot be."""
        replay = scene.replay
        if replay is None or (replay.origin is None and replay.observation is None):
            yield not_observed(self.code, scene, "the labels were not looked at")
            return
        found = replay.origin
        reason = _told(replay) or _class_index(scene) or _outside_the_loss(scene)
        if reason is None and found is not None:
            reason = self._reason(found, scene)
        if reason is None:
            return
        step = replay.step if replay.step is not None else 0
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            summary=f"{reason} at step {step}",
            onset_step=replay.step,
            onset_interval=None if replay.step is None else (step, step),
            step_axis=StepAxis.BATCH,
            evidence=(_evidence(found, step, reason),),
        )

    def _reason(self, found: Origin, scene: Scene) -> str | None:
        if found.op_type in _SPARSE_LOSSES and not any(t.bad for t in found.inputs):
            logits = max((abs(t.max) for t in found.inputs[:1]), default=0.0)
            return (
                "the loss is NaN on finite logits: a label is out of range"
                if logits < 1e30
                else None
            )
        return self._target(found, scene)

    def _target(self, found: Origin, scene: Scene) -> str | None:
        """Whether the operand that leaves the op's domain is the batch's own target."""
        seen = scene.observation
        if seen is None or found.op_type not in _DOMAIN_OPS or not found.inputs:
            return None
        low = found.inputs[0].min
        if not low < 0:
            return None
        for one in seen.batch:
            shifts = (0.0, 1.0)  # log(y) and log(1 + y)
            if one.name.split("/")[0] != "x" and any(
                abs(one.stats.min + s - low) <= self.tolerance * max(1.0, abs(low)) for s in shifts
            ):
                return f"`{one.name}` holds {one.stats.min:.4g}, outside the domain of the loss"
        return None

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Show a raised label; a negative count; a log of zero that no label made."""
        raised = origin(
            "SparseSoftmaxCrossEntropyWithLogits",
            raised="Received a label value of 7 which is outside the valid range of [0, 7)",
        )
        negative = tensor("y", TensorKind.OTHER, low=-2.0, high=9.0)
        zero = tensor("p", TensorKind.OTHER, low=0.0, zero=1)
        return (
            Example("an op raised", replayed(step=9, origin=raised), 9, Severity.ERROR),
            Example(
                "log of a negative count",
                replayed(
                    step=3, origin=origin("Log", inputs=(negative,)), batch=[part("y", largest=2.0)]
                ),
                3,
                Severity.ERROR,
            ),
            Example(
                "NaN under XLA, an error elsewhere",
                replayed(
                    step=9,
                    attempts=(
                        Attempt("jit", "CPU", None, "loss is NaN", 3, 3),
                        Attempt("eager", "CPU", None, "Received a label value of 7", 1, 1),
                    ),
                ),
                9,
                Severity.ERROR,
            ),
            Example(
                "class 10 of 10 units",
                replayed(
                    step=5,
                    batch=[part("y", largest=10.0, integer=True)],
                    config={"loss": "sparse_categorical_crossentropy", "output_units": 10},
                ),
                5,
                Severity.ERROR,
            ),
            Example(
                "classes 1 and 2 under a binary cross-entropy",
                replayed(
                    step=5,
                    batch=[part("y", smallest=1.0, largest=2.0)],
                    config={"loss": "binary_crossentropy", "output_units": 1},
                ),
                5,
                Severity.ERROR,
            ),
            Example(
                "smoothed labels of a binary cross-entropy",
                replayed(
                    step=5,
                    batch=[part("y", smallest=0.1, largest=0.9)],
                    config={"loss": "binary_crossentropy", "output_units": 1},
                ),
            ),
            Example("log(0) of a probability", replayed(origin=origin("Log", inputs=(zero,)))),
        )


def _told(replay: ReplayResult) -> str | None:
    """Whether an op raised the message of such a label, in whatever mode the step was run."""
    said = [a.outcome for a in replay.attempts]
    if replay.origin is not None and replay.origin.raised is not None:
        said.append(replay.origin.raised)
    return "a label or id is out of range" if any(_MESSAGES.search(s) for s in said) else None


def _class_index(scene: Scene) -> str | None:
    """Whether an integer target is no index of an output unit."""
    settings, seen = Settings.of(scene), scene.observation
    units = settings.output_units
    if seen is None or units is None or units < 2 or "sparse" not in (settings.loss or ""):
        return None
    for one in seen.batch:
        low, high = one.stats.min, one.stats.max
        if is_target(one.name) and one.integer and (low < 0 or high >= units):
            worst = low if low < 0 else high
            return f"`{one.name}` holds the class {worst:.0f}, there are {units} output units"
    return None


def _outside_the_loss(scene: Scene) -> str | None:
    """Whether a target lies where the compiled loss is not defined, although it is computed."""
    loss, seen = Settings.of(scene).loss, scene.observation
    if seen is None or loss not in _DOMAINS:
        return None
    low, high = _DOMAINS[loss]
    for one in seen.batch:
        if is_target(one.name) and (one.stats.min < low or one.stats.max > high):
            worst = one.stats.min if one.stats.min < low else one.stats.max
            return f"`{one.name}` holds {worst:.4g}, outside what {loss} is defined for"
    return None


def _evidence(found: Origin | None, step: int, reason: str) -> OpEvidence:
    if found is None:
        return OpEvidence("(labels)", "", None, Phase.LOSS.value, step, reason)
    detail = (found.raised or reason)[:300]
    op = found.op_type or "(input)"
    return OpEvidence(op, found.op_name or "", found.layer, found.phase.value, step, detail)
