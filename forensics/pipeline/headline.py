"""One sentence that a person can paste into a ticket."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from forensics.domain.diagnosis import Cause, Diagnosis
from forensics.domain.findings import Finding
from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.replay import Origin, Phase, ReplayResult
from forensics.domain.run import CheckpointStatus, Run, Series, TensorKind
from forensics.domain.scene import Scene
from forensics.pipeline.dating import Date, dumped, in_words, reproduced
from forensics.pipeline.legibility import legible, without_evidence
from forensics.pipeline.other_failure import met_another
from forensics.report.words import plain

_DIVISIONS = ("RealDiv", "Div", "Xdivy")


def headline(
    scene: Scene, status: str, findings: Sequence[Finding], first: Diagnosis | None, date: Date
) -> str:
    """Say what happened, when and where, as far as it is known.

    Parameters
    ----------
    scene : Scene
        The run and the replay.
    status : str
        The verdict's status.
    findings : sequence of Finding
        Of the last inspection.
    first : Diagnosis or None
        The most likely one.
    date : Date
        When it went wrong.
    """
    if status == "failed":
        what, remark = _event(scene, date)
        sentence = " ".join(part for part in (what, in_words(date)) if part)
        return f"{sentence}{remark}{_origin(scene.replay)}{_cause(first)}{_other(scene.replay)}."
    if status == "suspect":
        worst = min(findings, key=lambda f: f.severity.rank)
        return f"No breakdown, but {worst.summary.rstrip('.')}{_cause(first)}."
    if status == "healthy":
        return f"Nothing wrong was found{_extent(scene.run)}{_change(scene.run.train_loss)}."
    if not legible(scene.run) and scene.run.warnings:
        first_warning = scene.run.warnings[0]
        return f"Nothing could be read: {first_warning.path}: {first_warning.detail.rstrip('.')}."
    return f"{without_evidence(scene.run)}."


def describe(origin: Origin) -> str:
    """Return op, operands and place: RealDiv (0/0) in layer `standardize` (train.py:43)."""
    if origin.phase is Phase.INPUT:
        name = origin.input.name if origin.input else "input"
        rows = origin.input.rows if origin.input else ()
        where = f" (row{'s' if len(rows) > 1 else ''} {_listed(rows)})" if rows else ""
        return f"the batch's `{name}`{where} already holds NaN or Inf"
    if origin.phase is Phase.STATE:
        return f"`{origin.op_name or 'a restored variable'}` was bad before the step"
    operands = f" (gradient of {origin.forward_op_type})" if origin.forward_op_type else ""
    layer = f" in layer `{origin.layer.split('/')[-1]}`" if origin.layer else _phase(origin.phase)
    source = origin.source
    line = f" ({_file_name(source.file)}:{source.line})" if source else ""
    return f"{origin.op_type or 'an op'}{operands or _operands(origin)}{layer}{line}"


def _event(scene: Scene, date: Date) -> tuple[str, str]:
    """Say what was seen first, and what is remarkable about it."""
    replay, run = scene.replay, scene.run
    symptom = replay.symptom if replay is not None and reproduced(replay) else None
    if symptom == "raised":
        return "Training raised an error", ""
    loss, state = _bad_loss(run), _bad_state(run)
    if symptom == "state" or (loss is None and state is not None):
        remark = (
            ""
            if loss is not None or run.train_loss is None
            else ", though the logged loss stayed finite"
        )
        return state or "The weights became non-finite", remark
    if loss is not None:
        name = "Validation loss" if loss.quantity is Quantity.VALIDATION_LOSS else "Loss"
        return f"{name} became {_value(loss)}", ""
    if dumped(replay) and date == Date():
        finite = ", though the logged loss stayed finite" if run.train_loss is not None else ""
        return "A debug dump of the run shows NaN or Inf that does harm", finite
    if symptom == "loss":
        return "Loss became non-finite", ""
    norm = next((s for s in run.of(Quantity.GRADIENT_NORM) if s.tag == date.tag), None)
    if norm is not None and not np.all(np.isfinite(norm.values)):
        return f"The gradients became {_value(norm)}", ""
    return "Loss diverged", ""


def _bad_loss(run: Run) -> Series | None:
    """Return the loss that is non-finite: the one that stands for training before all others."""
    main = [run.train_loss] if run.train_loss is not None else []
    others = [
        s for s in run.series if "loss" in s.tag.lower() and s.quantity is not Quantity.LOSS_SCALE
    ]
    parts = sorted(others, key=lambda s: s.quantity is Quantity.VALIDATION_LOSS)
    return next((s for s in [*main, *parts] if not np.all(np.isfinite(s.values))), None)


def _value(series: Series) -> str:
    bad = series.values[~np.isfinite(series.values)]
    return "NaN" if math.isnan(float(bad[0])) else "infinite"


def _bad_state(run: Run) -> str | None:
    poisoned = [c for c in run.checkpoint_stats if c.status is CheckpointStatus.POISONED]
    if not poisoned:
        return None
    first = min(poisoned, key=lambda c: (c.step is None, c.step or 0))
    kinds = {t.kind for t in first.bad_tensors}
    what = "The weights" if TensorKind.WEIGHT in kinds else "Optimizer slots"
    nan = any(t.nan for t in first.bad_tensors)
    return f"{what} became {'NaN' if nan else 'infinite'}"


def _origin(replay: ReplayResult | None) -> str:
    if replay is None or replay.origin is None or not (reproduced(replay) or dumped(replay)):
        return ""
    return f": {describe(replay.origin)}"


def _cause(first: Diagnosis | None) -> str:
    if first is None or first.cause in (Cause.UNKNOWN, Cause.HEALTHY):
        return ""
    sure = "likely" if first.confidence >= 0.5 else "possible"
    return f"; {sure} cause: {plain(first.cause.value)}"


def _other(replay: ReplayResult | None) -> str:
    step = met_another(replay)
    return f"; a replay met another failure, at step {step}" if step is not None else ""


def _phase(phase: Phase) -> str:
    return {
        Phase.LOSS: " in the loss",
        Phase.BACKWARD: " in the backward pass",
        Phase.OPTIMIZER: " in the optimizer's update",
        Phase.METRIC: " in a metric",
    }.get(phase, "")


def _operands(origin: Origin) -> str:
    """Say what was wrong with the operands where their statistics prove it."""
    inputs, outputs = origin.inputs, origin.outputs
    if origin.op_type in _DIVISIONS and len(inputs) > 1 and inputs[1].zero:
        return " (0/0)" if any(t.nan for t in outputs) else " (division by 0)"
    if origin.op_type == "Log" and inputs and inputs[0].zero:
        return " (log of 0)"
    if origin.op_type == "Mean" and inputs and inputs[0].count == 0:
        return " (mean of an empty tensor)"
    return ""


def _file_name(path: str) -> str:
    return path.replace("\\", "/").split("/")[-1]


def _listed(rows: Sequence[int], limit: int = 5) -> str:
    return ", ".join(str(r) for r in rows[:limit]) + (", ..." if len(rows) > limit else "")


def _extent(run: Run) -> str:
    loss = run.train_loss
    if loss is None or not len(loss):
        return f" in {len(run.checkpoint_stats)} checkpoints" if run.checkpoint_stats else ""
    unit = "epochs" if loss.step_axis is StepAxis.EPOCH else "steps"
    return f" in {int(np.max(loss.steps)) + 1} {unit}"


def _change(loss: Series | None) -> str:
    if loss is None or len(loss) < 2:
        return ""
    first, last = float(loss.values[0]), float(loss.values[-1])
    if not (math.isfinite(first) and math.isfinite(last)):
        return ""
    return f"; the loss went from {first:.3g} to {last:.3g}"
