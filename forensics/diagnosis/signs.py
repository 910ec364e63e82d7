"""From findings and curves to clues: what can be said without running anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from forensics.detectors.curves import before, failure, first_bad_index, log_level
from forensics.detectors.half_precision import HALF_TYPES
from forensics.detectors.settings import Settings
from forensics.diagnosis.clues import Clue, Sign
from forensics.domain.evidence import CurveEvidence, TensorEvidence
from forensics.domain.findings import Finding, Severity
from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.run import FloatArray, Run, Series, TensorKind
from forensics.domain.scene import Scene

GROWN = 1e3
"""Growth of the last finite losses before a failure, x their lowest, that is no accident."""
CALM_POINTS = 3
"""Fewest points of a calm stretch for a failure to count as sudden."""
JUMP_CALM = 10
"""Fewest points of a gradient norm before a jump that count as a calm stretch."""
JUMP_DECADES = 4.0
"""Growth of a gradient norm from one point to the next, out of calm, that no step size explains."""
SPIKE = 10.0
"""Peak of the loss over its level until then that can kill units."""
SPIKE_WINDOW = 25
"""Points before the silence in which such a peak counts."""
LARGE_RATE = {
    "sgd": 0.5,
    **dict.fromkeys(("adam", "adam_w", "adamw", "adamax", "nadam", "rmsprop", "rms_prop"), 0.03),
}
"""Learning rates that are large, by optimizer: 50 and 30 times the defaults of Keras.

An optimizer that is not listed has no usual range: Adadelta's rate is 1 in its paper, Adafactor
scales its own, and nothing is known of one that the user wrote.
"""

_DIRECT = {
    "DAT001": Sign.INPUT_NON_FINITE,
    "DAT003": Sign.LABEL_RANGE,
    "MOD001": Sign.MISMATCH,
    "OPT001": Sign.RATE_ROSE,
    "OPT002": Sign.RATE_TINY,
    "GRD002": Sign.VANISHING,
    "GRD003": Sign.DEAD,
    "ACT001": Sign.DEAD,
    "ACT002": Sign.SATURATED,
    "LOS003": Sign.IMPLAUSIBLE_FIRST_LOSS,
    "LOS004": Sign.GROWN_LOSS,
}
"""Findings that are clues as they stand (warnings and errors only)."""


def finding_clues(scene: Scene, findings: Sequence[Finding]) -> Iterator[Clue]:
    """Clues of the findings, each with the finding's own sentence."""
    for found in findings:
        if found.severity is Severity.INFO:
            continue
        sign = _DIRECT.get(found.code)
        if sign is not None:
            yield Clue(sign, found.summary, (found.code,))
        elif found.code == "DAT002":
            outlier = found.severity is Severity.ERROR
            yield Clue(
                Sign.BATCH_OUTLIER if outlier else Sign.NOT_NORMALISED, found.summary, (found.code,)
            )
        elif found.code == "WGT001":
            yield Clue(Sign.WIDE_KERNELS, found.summary, (found.code,))
        elif found.code == "GRD001":
            yield Clue(_growth_sign(scene.run, found), found.summary, (found.code,))
        elif found.code == "LOS001":
            # A smaller rise has many harmless reasons: harder data, a term that is annealed.
            blown_up = found.severity is Severity.ERROR
            yield Clue(Sign.DIVERGED if blown_up else Sign.ROSE, found.summary, (found.code,))
        elif found.code == "LOS002":
            yield Clue(_stall_sign(found), found.summary, (found.code,))
        elif found.code == "PRC001" and "loss scale" in found.summary:
            yield Clue(Sign.SCALE_COLLAPSED, found.summary, (found.code,))


def _is_silence(found: Finding) -> bool:
    """Whether a finding says that units or gradients fell silent."""
    stalled = found.code == "LOS002" and _stall_sign(found) is Sign.COLLAPSED
    return stalled or found.code in ("GRD003", "ACT001")


def _stall_sign(found: Finding) -> Sign:
    """Which kind of stop LOS002 reports."""
    if "gradient_collapse" in found.summary:
        return Sign.COLLAPSED
    return Sign.OSCILLATES if "swings" in found.summary else Sign.STALLED


def curve_clues(scene: Scene, findings: Sequence[Finding]) -> Iterator[Clue]:
    """Clues that need the curves and the checkpoints beside the findings."""
    run, codes = scene.run, {f.code for f in findings if f.severity is not Severity.INFO}
    yield from _checkpoints(findings)
    silent = [f for f in findings if _is_silence(f)]
    if silent:
        yield from _spike(run, silent)
    settings = Settings.of(scene)
    if codes:
        yield from _rate(run, settings)
    failed = failure(run)
    if failed is not None and failed.non_finite:
        announced = bool(codes & {"LOS001", "GRD001"})
        yield from _onset(run, tuple(sorted(codes & {"NUM001", "NUM002"})), announced)
        if settings.half_precision:
            yield Clue(Sign.HALF_POLICY, f"the policy is {settings.dtype_policy}")
        elif _half_weights(run):
            yield Clue(Sign.HALF_POLICY, "the weights are stored in 16 bits")


def _half_weights(run: Run) -> bool:
    return any(
        t.kind is TensorKind.WEIGHT and t.dtype in HALF_TYPES
        for c in run.checkpoint_stats[:1]
        for t in c.tensors
    )


def _onset(run: Run, support: tuple[str, ...], announced: bool) -> Iterator[Clue]:
    """How the loss went into the failure; ``announced`` when a finding dates a growth before it."""
    loss, failed = run.train_loss, failure(run)
    if loss is None or not len(loss) or failed is None or failed.axis is not loss.step_axis:
        return
    end = before(loss, failed)
    values = loss.values[:end]
    finite = values[np.isfinite(values)]
    grown = len(finite) >= 2 and _recent_growth(finite) >= GROWN
    if grown:
        yield Clue(
            Sign.GROWN_LOSS, f"the loss grew {_recent_growth(finite):.2g}-fold just before", support
        )
    elif len(finite) >= CALM_POINTS and not (announced or _norm_grew(run, failed.step)):
        yield Clue(Sign.SUDDEN, "nothing in the curves announced it", support)
    elif len(finite) < CALM_POINTS:
        yield Clue(Sign.AT_ONCE, "it fails within its first steps", support)
    index = first_bad_index(loss.values)
    if index is None:
        return
    if np.isinf(loss.values[index]) and not (grown or announced):
        yield Clue(Sign.INF_FIRST, "the loss is infinite before it is NaN", support)
    if np.isfinite(loss.values[index + 1 :]).any():
        yield Clue(Sign.RECOVERS, "the loss is finite again afterwards", support)
    yield from _against_gradient(run, loss, index, support)


def _against_gradient(
    run: Run, loss: Series, index: int, support: tuple[str, ...]
) -> Iterator[Clue]:
    """Which of loss and gradient norm was lost first."""
    norm = run.gradient_norm
    if norm is None or norm.step_axis is not loss.step_axis:
        return
    step, bad = int(loss.steps[index]), first_bad_index(norm.values)
    here = norm.values[norm.steps == step]
    if len(here) and np.isfinite(here[0]) and np.isnan(loss.values[index]):
        text = "the loss is NaN while its gradient is finite, as that of a negative number's log"
        yield Clue(Sign.LOSS_NAN_ALONE, text, support)
    if bad is not None and int(norm.steps[bad]) < step and np.isnan(norm.values[bad]):
        text = "the gradient is NaN while the loss is still finite"
        yield Clue(Sign.GRADIENT_NAN_FIRST, text, support)


def _recent_growth(finite: FloatArray) -> float:
    """Last finite losses over the lowest one of the last ten."""
    tail = np.abs(finite[-10:])
    low = float(np.min(tail[:-1])) if len(tail) > 1 else float(tail[0])
    return float(tail[-1]) / low if low > 0 else 1.0


def _norm_grew(run: Run, step: int) -> bool:
    norm = run.gradient_norm
    if norm is None:
        return False
    values = norm.values[(norm.steps < step)]
    values = values[np.isfinite(values) & (values > 0)]
    if len(values) < CALM_POINTS:
        return False
    middle, _ = log_level(values[: len(values) // 2])
    return bool(np.log10(values[-1]) - middle > 2.0)


def _growth_sign(run: Run, found: Finding) -> Sign:
    """Growth over several steps, or one jump out of a calm stretch."""
    curve = next((e for e in found.evidence if isinstance(e, CurveEvidence)), None)
    norm = next((s for s in run.series if curve is not None and s.tag == curve.tag), None)
    if curve is None or norm is None:
        return Sign.GROWN_GRADIENTS
    start = int(np.searchsorted(norm.steps, curve.first_step))
    if start == 0 and norm.steps[0] <= 1:
        return Sign.HUGE_AT_START
    if start < JUMP_CALM or curve.last_step - curve.first_step > 1:
        return Sign.GROWN_GRADIENTS
    here, previous = float(norm.values[start]), float(norm.values[start - 1])
    jumped = previous > 0 and here / previous >= 10.0**JUMP_DECADES
    return Sign.JUMPED_GRADIENTS if jumped else Sign.GROWN_GRADIENTS


def _checkpoints(findings: Sequence[Finding]) -> Iterator[Clue]:
    for found in findings:
        if found.code != "NUM002" or found.severity is Severity.INFO:
            continue
        tensors = [e for e in found.evidence if isinstance(e, TensorEvidence)]
        if tensors and all(e.kind is TensorKind.SLOT for e in tensors):
            yield Clue(
                Sign.SLOTS_FIRST, "optimizer slots overflowed before the weights", (found.code,)
            )
        if tensors and tensors[0].step == 0:
            yield Clue(Sign.STATE_BAD, "the checkpoint of step 0 is poisoned", (found.code,))


def _spike(run: Run, silent: Sequence[Finding]) -> Iterator[Clue]:
    """Whether the loss shot up just before the first silence, over its level until then."""
    loss = run.train_loss
    if loss is None or len(loss) < 3 or not loss.values[0] > 0:
        return
    onset = min(f.onset_step or 0 for f in silent)
    end = int(np.searchsorted(loss.steps, onset, side="right")) + 1
    start = max(1, end - SPIKE_WINDOW)
    near, level = loss.values[start:end], loss.values[:start]
    if not np.isfinite(near).any() or not np.isfinite(level).any():
        return
    usual = float(np.median(level[np.isfinite(level)]))
    peak = float(np.max(near[np.isfinite(near)]))
    if usual > 0 and peak >= SPIKE * usual:
        text = f"the loss shot up {peak / usual:.3g}-fold before the units fell silent"
        yield Clue(Sign.SPIKE_BEFORE_DEATH, text, tuple(sorted({f.code for f in silent})))


def _rate(run: Run, settings: Settings) -> Iterator[Clue]:
    """Return a learning rate that is large for its optimizer, where one is known."""
    rates: tuple[Series, ...] = run.of(Quantity.LEARNING_RATE, StepAxis.BATCH)
    rate = float(np.max(rates[0].values)) if rates and len(rates[0]) else settings.learning_rate
    if rate is None or not np.isfinite(rate):
        return
    limit = LARGE_RATE.get(settings.optimizer or "")
    if limit is not None and rate > limit:
        yield Clue(
            Sign.RATE_LARGE, f"a learning rate of {rate:.3g} is large for `{settings.optimizer}`"
        )
