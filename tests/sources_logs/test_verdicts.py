"""What `forensics analyze` says of logs alone, and that logs beside event files do no harm."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.run import FloatArray
from forensics.pipeline import analyze
from forensics.sources.logdir import read
from tests.data.logs import record_keras_facts as facts
from tests.sources_logs.logs_of import DATA

FIXTURES = sorted((Path(__file__).parents[2] / "fixtures").glob("*/*/truth.toml"))


def verdict(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = analyze(path).document["verdict"]
    return found


@pytest.mark.parametrize(
    ("name", "axis", "low", "high"),
    [
        ("keras3_verbose1.out", "batch", 24, 31),
        ("keras3_verbose2.out", "batch", 23, 35),
        ("keras3_terminated.out", "batch", 30, 31),
        ("keras2_terminated.out", "batch", 30, 31),
        ("keras3_logger.csv", "epoch", 2, 2),
        ("keras3_history.json", "epoch", 2, 2),
        ("trainer_state.json", "batch", 15, 17),
        ("version_0", "batch", 23, 27),
        ("mlruns/1/aaaa0000000000000000000000000001", "batch", 6, 7),
        ("run-offline.wandb", "batch", 16, 17),
    ],
)
def test_a_log_alone_dates_the_failure(name: str, axis: str, low: int, high: int) -> None:
    found = verdict(DATA / name)
    assert found["status"] == "failed"
    assert found["step_axis"] == axis
    first, last = found["first_bad_step_interval"]
    assert low <= first <= last <= high
    if name.startswith("keras") and axis == "batch":
        assert first <= facts.BAD <= last


@pytest.mark.parametrize("name", ["keras3_one_epoch.out", "keras2_one_epoch.out"])
def test_a_sound_log_is_healthy(name: str) -> None:
    assert verdict(DATA / name)["status"] == "healthy"


def test_a_sound_run_of_a_tracker_is_healthy() -> None:
    assert verdict(DATA / "mlruns" / "1/bbbb0000000000000000000000000002")["status"] == "healthy"


def _stretches(logdir: Path) -> list[FloatArray]:
    """Losses of ten epochs, as long as each other, of the run."""
    loss = read(logdir).of(Quantity.TRAIN_LOSS, StepAxis.BATCH)[0]
    by_step = dict(zip(loss.steps.tolist(), loss.values.tolist(), strict=True))
    length = (max(by_step) + 1) // 10
    return [
        np.array([by_step[s] for s in range(e * length, (e + 1) * length) if s in by_step])
        for e in range(10)
    ]


def _progress(stretches: list[FloatArray]) -> str:
    lines = []
    for epoch, losses in enumerate(stretches):
        lines.append(f"Epoch {epoch + 1}/{len(stretches)}\n")
        for done in (1, len(losses) // 2, len(losses)):
            mean = float(np.mean(losses[:done]))
            shown = f"{mean:.4f}" if abs(mean) > 1e-3 else f"{mean:.4e}"
            lines.append(f"\r{done}/{len(losses)} [===>...] - ETA: 0s - loss: {shown}")
        lines.append("\n")
    return "".join(lines)


@pytest.mark.parametrize("truth", FIXTURES, ids=lambda path: path.parent.name)
def test_other_logs_do_not_change_the_verdict(truth: Path, tmp_path: Path) -> None:
    """The same training beside its event files as a CSV, as printed text and as a history."""
    logdir = next(path for path in truth.parent.iterdir() if path.is_dir())
    copy = tmp_path / logdir.name
    shutil.copytree(logdir, copy)
    stretches = _stretches(logdir)
    values = [float(np.mean(losses)) for losses in stretches]
    rows = "".join(f"{epoch},{value!r}\n" for epoch, value in enumerate(values))
    (copy / "training.csv").write_text("epoch,loss\n" + rows)
    (copy / "slurm-1.out").write_text(_progress(stretches))
    (copy / "history.json").write_text(json.dumps({"loss": values}))
    alone, together = verdict(logdir), verdict(copy)
    assert len(read(copy).inputs) == len(read(logdir).inputs) + 3
    same = ("status", "first_bad_step", "step_axis", "cause")
    assert {key: alone[key] for key in same} == {key: together[key] for key in same}
    if alone["first_bad_step_interval"] is not None:
        low, high = alone["first_bad_step_interval"]
        first, last = together["first_bad_step_interval"]
        assert low <= first <= last <= high
