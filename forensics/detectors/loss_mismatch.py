"""MOD001: the last activation and the loss do not belong together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from forensics.detectors.base import CONFIG_LINE, Example
from forensics.detectors.curves import failure
from forensics.detectors.scenes import curve, falling, logged, origin, replayed, tensor
from forensics.detectors.settings import Settings
from forensics.domain.evidence import ConfigEvidence, OpEvidence
from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.quantity import StepAxis
from forensics.domain.replay import Phase
from forensics.domain.run import TensorKind
from forensics.domain.scene import Scene

_CATEGORICAL = ("categorical_crossentropy", "sparse_categorical_crossentropy")
_BINARY = ("binary_crossentropy", "binary_focal_crossentropy")
_UNBOUNDED = frozenset(
    {"linear", "relu", "relu6", "tanh", "elu", "selu", "gelu", "leaky_relu", "leakyrelu",
    "softplus",
     "swish", "silu", "softsign"}
)  # fmt: skip


@dataclass(frozen=True)
class LossMismatch:
    """The loss expects something else than the last layer delivers.

    **Why it is bad.** A cross-entropy on values that are no probabilities divides by a sum that may
    be zero, takes logarithms of negative numbers, or clips: gradients vanish or are wrong, and a
    softmax over a single unit answers 1 whatever the input.

    **What it says.** Statically, from the compiled loss and the last activation: a warning, and an
    error if the run failed. Dynamically: a logarithm in the loss met values below `negative`.

    Parameters
    ----------
    negative : float
        Operand of a logarithm from which it cannot be rounding any more, default -1e-3.

    References
    ----------
    .. [1] Nikanjam et al., "NeuraLint", TOSEM 2021: activation and loss must be linked.
    .. [2] Schoop et al., "UMLAUT", CHI 2021; Zhang et al., AUTOTRAINER, ICSE 2021.
    """

    negative: float = -1e-3

    code: ClassVar[str] = "MOD001"
    name: ClassVar[str] = "loss-activation-mismatch"
    requires: ClassVar[tuple[str, ...]] = ("config",)
    needs_replay: ClassVar[bool] = False

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Report the pair that does not fit."""
        settings = Settings.of(scene)
        dynamic = self._logarithm(scene, settings)
        if dynamic is not None:
            yield dynamic
            return
        if settings.loss is None or settings.last_activation is None:
            missing = tuple(k for k in ("loss", "last_activation") if getattr(settings, k) is None)
            yield NotChecked(
                self.code, "loss and last activation are not recorded", missing, CONFIG_LINE
            )
            return
        expected = mismatch(settings)
        if expected is None:
            return
        failed = failure(scene.run)
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING if failed is None else Severity.ERROR,
            summary=f"`{settings.loss}` after `{settings.last_activation}`: {expected}",
            onset_step=0,
            onset_interval=(0, 0),
            step_axis=StepAxis.BATCH,
            evidence=(
                ConfigEvidence("loss", settings.loss, expected),
                ConfigEvidence("last_activation", settings.last_activation, expected),
            ),
        )

    def _logarithm(self, scene: Scene, settings: Settings) -> Finding | None:
        """Return a finding when a log of the loss got clearly negative model outputs."""
        replay = scene.replay
        found = replay.origin if replay is not None else None
        if replay is None or found is None or found.op_type not in ("Log", "Log1p", "Xlogy"):
            return None
        in_loss = found.phase is Phase.LOSS or found.layer is None
        operand = found.inputs[-1] if found.op_type == "Xlogy" else next(iter(found.inputs), None)
        floor = self.negative - 1.0 if found.op_type == "Log1p" else self.negative
        if not in_loss or operand is None or not operand.min < floor:
            return None
        if settings.last_activation not in (None, *_UNBOUNDED):
            return None
        step = replay.step or 0
        activation = settings.last_activation or "an unbounded output"
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            summary=(
                f"the loss takes the logarithm of values down to {operand.min:.3g}: `{activation}` "
                "delivers no probabilities"
            ),
            onset_step=step,
            onset_interval=(step, step),
            step_axis=StepAxis.BATCH,
            evidence=(
                OpEvidence(
                    found.op_type, found.op_name or "", found.layer, found.phase.value, step,
                    f"operand in [{operand.min:.4g}, {operand.max:.4g}]",
                ),
            ),
        )  # fmt: skip

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Show a softmax over one unit; a log of tanh; pairs that fit."""
        loss = curve(falling(20))
        one = {"loss": "binary_crossentropy", "last_activation": "softmax", "output_units": 1}
        fit = {"loss": "categorical_crossentropy", "last_activation": "softmax", "output_units": 10}
        tanh = {"loss": "bernoulli_nll", "last_activation": "tanh", "output_units": 784}
        values = tensor("y", TensorKind.OTHER, low=-0.9)
        return (
            Example("a softmax over one unit", logged(loss, config=one), 0, Severity.WARNING),
            Example(
                "log of a tanh",
                replayed(step=4, origin=origin("Log", inputs=(values,)), config=tanh),
                4,
                Severity.ERROR,
            ),
            Example("softmax and cross-entropy", logged(loss, config=fit)),
        )


def mismatch(settings: Settings) -> str | None:
    """Say what the loss would need instead; None when the pair fits or nothing is known."""
    loss, last, logits = settings.loss or "", settings.last_activation or "", settings.from_logits
    if last == "softmax" and settings.output_units == 1:
        return "a softmax over one unit is always 1; use sigmoid, or two units"
    if loss not in (*_CATEGORICAL, *_BINARY):
        return None
    if logits is True and last in ("softmax", "sigmoid"):
        return "from_logits=True expects logits; drop the activation or from_logits"
    if loss in _CATEGORICAL and settings.output_units == 1:
        return "a categorical loss over one unit is always 0; use binary_crossentropy"
    if logits is not True and last in _UNBOUNDED:
        return "probabilities expected; use softmax or sigmoid, or from_logits=True"
    if loss in _BINARY and last == "softmax" and (settings.output_units or 2) > 2:
        return "independent probabilities expected; use sigmoid, or categorical_crossentropy"
    return None
