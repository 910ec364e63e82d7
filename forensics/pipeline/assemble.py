"""The finished document, section by section as the contract lists them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forensics import __version__
from forensics.detectors.registry import Inspection, limits
from forensics.detectors.timeline import change_points, lead_indicators
from forensics.domain.diagnosis import Diagnosis
from forensics.domain.quantity import StepAxis
from forensics.domain.replay import ReplayResult, StepObservation
from forensics.domain.report import SCHEMA_VERSION, Report, encode
from forensics.domain.run import CheckpointStats, CheckpointStatus, InputFile, Run, TensorStats
from forensics.domain.scene import Scene
from forensics.pipeline.curves import curves
from forensics.pipeline.environment import environment
from forensics.pipeline.epochs import first_batch_at_least
from forensics.pipeline.verdict import Verdict

CONFIG = ("optimizer", "learning_rate", "loss", "activations", "dtype_policy", "batch_size")
"""Settings that every report names, null where nothing tells them."""

_LAYER = (
    "name", "kind", "activation", "gradient_norm", "weight_norm", "update_ratio", "activation_mean",
    "activation_std", "zero_fraction", "saturated_fraction", "nan", "inf",
)  # fmt: skip
_REPLAY = (
    "status", "reason", "device", "step", "started_from", "attempts", "determinism",
    "unreplayable_ops", "sandbox", "origin", "other_origins", "benign", "chain", "check_numerics",
    "samples", "minimal_batch", "collective", "culprits", "row_notes", "trials", "whose_bug",
    "scan", "source", "instrument", "degradations", "reproducer", "reproducer_script", "symptom",
)  # fmt: skip

NOT_ASKED = "no replay was asked for (--replay FILE:function)"


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that goes into the document."""

    scene: Scene
    inspection: Inspection
    diagnoses: Sequence[Diagnosis]
    verdict: Verdict


def assemble(analysis: Analysis) -> Report:
    """Write the document.

    Returns
    -------
    Report
        Every section of the contract; unknown is null, never absent.
    """
    run, replay = analysis.scene.run, analysis.scene.replay
    config = merged_config(run, replay)
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "forensics", "version": __version__},
        "run": _run(run),
        "environment": environment(run, config, replay),
        "config": _settings(config),
        "inputs": [_input(file) for file in run.inputs],
        "limits": {"preset": "default", "values": encode(limits())},
        "verdict": encode(analysis.verdict),
        "series": curves(run),
        "layers": _layers(analysis.scene.observation),
        "findings": encode(analysis.inspection.findings),
        "not_checked": encode(analysis.inspection.not_checked),
        "change_points": encode(change_points(run)),
        "lead_indicators": encode(_indicators(run, analysis.verdict)),
        **_checkpoints(run, analysis.verdict),
        "replay": _replay(replay),
        "diagnoses": encode(analysis.diagnoses),
        "warnings": encode(run.warnings),
    }
    return Report(document)


def merged_config(run: Run, replay: ReplayResult | None) -> dict[str, Any]:
    """Return what logs, checkpoints and replay say about the settings; the first to say it counts.

    The logs come first, then checkpoints from the last to the first, then the replay, which knows
    the program as it is now and not as it was.
    """
    dated = sorted(run.checkpoint_stats, key=lambda c: -(c.step or 0))
    sources: list[Mapping[str, Any]] = [run.config, *(c.config for c in dated)]
    if replay is not None:
        sources.append(replay.config)
    merged: dict[str, Any] = {}
    for source in sources:
        for key, value in source.items():
            if merged.get(key) is None:
                merged[key] = value
    return merged


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    rest = {k: v for k, v in config.items() if k not in CONFIG and k != "environment"}
    settings: dict[str, Any] = encode({**{key: config.get(key) for key in CONFIG}, **rest})
    return settings


def _run(run: Run) -> dict[str, Any]:
    axis = StepAxis.BATCH
    if run.series and all(s.step_axis is StepAxis.EPOCH for s in run.series):
        axis = StepAxis.EPOCH
    counted = [s.steps for s in run.series if s.step_axis is axis and len(s)]
    steps = [int(end) for array in counted for end in (array.min(), array.max())]
    times = [t for s in run.series for t in _ends(s.wall_times)]
    writers = Counter(s.writer for s in run.series)
    return {
        "name": run.name,
        "writers": [{"name": name, "n_series": writers[name]} for name in sorted(writers)],
        "n_points": sum(len(s) for s in run.series),
        "first_step": min(steps, default=None),
        "last_step": max(steps, default=None),
        "step_axis": axis.value,
        "wall_time_start": min(times, default=None),
        "wall_time_end": max(times, default=None),
    }


def _input(file: InputFile) -> dict[str, Any]:
    """Return one input; only a remote one has an etag."""
    found: dict[str, Any] = encode(file)
    if file.etag is None:
        del found["etag"]
    return found


def _ends(times: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, ...]:
    """Return the first and last time of a curve; a time that is no number is none."""
    known = times[np.isfinite(times)]
    return (float(known.min()), float(known.max())) if len(known) else ()


def _layers(observation: StepObservation | None) -> list[dict[str, Any]] | None:
    if observation is None:
        return None
    return [{key: encode(getattr(layer, key)) for key in _LAYER} for layer in observation.layers]


def _indicators(run: Run, verdict: Verdict) -> Iterable[Any]:
    if verdict.status != "failed" or verdict.step_axis is not StepAxis.BATCH:
        return ()
    first = verdict.first_bad_step
    if first is None and verdict.first_bad_step_interval is not None:
        first = verdict.first_bad_step_interval[0]
    return lead_indicators(run, first) if first is not None else ()


def _checkpoints(run: Run, verdict: Verdict) -> dict[str, Any]:
    ordered = sorted(run.checkpoint_stats, key=lambda c: (c.step is None, c.step or 0, c.path))
    clean = [c for c in ordered if c.status is CheckpointStatus.CLEAN]
    poisoned = [c for c in ordered if c.status is CheckpointStatus.POISONED]
    earliest = _earliest(run, verdict)
    before = [c for c in clean if _is_before(c, earliest)]
    return {
        "checkpoints": [_checkpoint(c) for c in ordered],
        "last_finite_checkpoint": _last(clean),
        "last_checkpoint_before_onset": _last(before),
        "first_poisoned_checkpoint": poisoned[0].path if poisoned else None,
    }


def _is_before(checkpoint: CheckpointStats, earliest: int | None) -> bool:
    """Whether a checkpoint holds no result of the first bad step: N finished steps are 0 to N-1."""
    return earliest is not None and checkpoint.step is not None and checkpoint.step <= earliest


def _earliest(run: Run, verdict: Verdict) -> int | None:
    """Return the batch before which nothing can have failed, None where there is none."""
    if verdict.status != "failed":
        return None
    interval, step = verdict.first_bad_step_interval, verdict.first_bad_step
    first = interval[0] if interval is not None else step
    if first is None or verdict.step_axis is not StepAxis.EPOCH:
        return first
    return first_batch_at_least(run, first)


def _last(checkpoints: Sequence[CheckpointStats]) -> str | None:
    """Return the path of the latest of sorted checkpoints; undated ones only where no other is."""
    dated = [c for c in checkpoints if c.step is not None]
    found = dated or checkpoints
    return found[-1].path if found else None


def _checkpoint(checkpoint: CheckpointStats) -> dict[str, Any]:
    return {
        "path": checkpoint.path,
        "format": checkpoint.format.value,
        "verifiable": checkpoint.verifiable,
        "step": checkpoint.step,
        "step_source": encode(checkpoint.step_source),
        "status": checkpoint.status.value,
        "bad_tensors": [_bad_tensor(t) for t in checkpoint.bad_tensors],
    }


def _bad_tensor(tensor: TensorStats) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "kind": tensor.kind.value,
        "nan": tensor.nan,
        "pos_inf": tensor.pos_inf,
        "neg_inf": tensor.neg_inf,
        "count": tensor.count,
    }


def _replay(replay: ReplayResult | None) -> dict[str, Any]:
    if replay is None:
        return {**dict.fromkeys(_REPLAY), "status": "not_run", "reason": NOT_ASKED}
    return {key: encode(getattr(replay, key)) for key in _REPLAY}
