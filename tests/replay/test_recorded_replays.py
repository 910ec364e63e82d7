"""Recordings and saved files are replayed: bit by bit, or with the reason why not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forensics import read
from forensics.domain.quantity import Quantity
from forensics.domain.replay import ReplayResult, ReplayStatus
from forensics.domain.run import CheckpointStatus
from forensics.replay.request import ReplayOptions, ReplayRequest
from forensics.replay.runner import run_replay
from tests.replay.replaying import PROGRAMS

pytestmark = pytest.mark.tf
ROOT = Path(__file__).parents[2]
EXACT = "the replay of the recording is exact"


def run_program(file: Path, *arguments: str) -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = str(ROOT)
    subprocess.run(
        [sys.executable, str(file), *arguments], env=environment, capture_output=True, check=False
    )


def first_bad_loss(logdir: Path) -> int:
    loss = next(s for s in read(logdir).of(Quantity.TRAIN_LOSS) if s.tag == "train/loss")
    return int(loss.steps[~np.isfinite(loss.values)][0])


def replayed(logdir: Path, entry: str, batch: Path | None = None) -> ReplayResult:
    """Replay the failure that the logs show, as the pipeline asks for it."""
    run, step = read(logdir), first_bad_loss(logdir)
    request = ReplayRequest(
        run, entry, "cpu", 240.0, step, (max(0, step - 1), step), "non_finite",
        options=ReplayOptions(batch=batch),
    )  # fmt: skip
    return run_replay(request, lambda line: None)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logdir = tmp_path_factory.mktemp("recorded")
    run_program(PROGRAMS / "recorded.py", str(logdir))
    return logdir


@pytest.fixture(scope="module")
def recorded_own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logdir = tmp_path_factory.mktemp("recorded_own")
    run_program(PROGRAMS / "recorded.py", str(logdir), "own")
    return logdir


def bad_row(logdir: Path, step: int) -> int:
    with np.load(logdir / f"flight/batch-{step:09d}.npz", allow_pickle=False) as batch:
        return int(np.argmax(batch["x"][:, 0]))


def is_exact(result: ReplayResult, logdir: Path) -> None:
    """The failure at the right step and row, from a recorded state, with the losses of the run."""
    assert result.status is ReplayStatus.REPRODUCED, result.reason
    assert result.step is not None
    assert EXACT in result.reason
    assert result.started_from is not None and result.started_from.startswith("flight/state-")
    assert result.determinism == "bitwise"
    assert result.origin is not None and result.origin.op_type == "Exp"
    assert result.samples == (bad_row(logdir, result.step),)
    baseline = [t for t in result.trials if t.steps_survived is not None]
    assert all((t.steps_tried or 0) >= 4 for t in baseline), "remedies had a lead"


def test_a_recording_is_replayed_without_its_program(recorded: Path) -> None:
    result = replayed(recorded, str(recorded / "flight"))
    is_exact(result, recorded)
    assert result.source == "recording"


@pytest.mark.slow
def test_the_program_is_given_the_recorded_batches(recorded_own: Path) -> None:
    result = replayed(recorded_own, f"{PROGRAMS / 'recorded.py'}:own_case")
    is_exact(result, recorded_own)
    assert result.source == "entry_point"


def test_a_layer_of_its_own_needs_the_program(recorded_own: Path) -> None:
    result = replayed(recorded_own, str(recorded_own / "flight"))
    assert result.status is ReplayStatus.NOT_RUN
    assert "Doubled" in result.reason
    assert "--replay train.py:replay_case" in result.reason


@pytest.mark.slow
def test_a_recording_elsewhere_keeps_its_states(recorded: Path, tmp_path: Path) -> None:
    moved = tmp_path / "ticket"
    moved.mkdir()
    for file in (recorded / "flight").iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    result = replayed(recorded, str(moved))
    assert result.status is ReplayStatus.REPRODUCED, result.reason
    assert result.started_from is not None and result.started_from.startswith("state-")


@pytest.mark.slow
def test_a_saved_model_and_the_batch_it_fails_on(recorded: Path, tmp_path: Path) -> None:
    """The model lies elsewhere, and the log has no checkpoint: the batch is of the failing step."""
    batch, logdir = tmp_path / "batch.npz", tmp_path / "logs"
    logdir.mkdir()
    (events,) = (recorded / "flight").glob("*tfevents*")
    shutil.copy(events, logdir)
    x = np.zeros((3, 4), np.float32)
    x[1, 0] = 90.0
    np.savez_compressed(batch, x=x, y=np.zeros((3, 1), np.float32))
    result = replayed(logdir, str(recorded / "flight/model.keras"), batch)
    assert result.status is ReplayStatus.REPRODUCED, result.reason
    assert result.source == "keras_file"
    assert result.started_from == "model.keras"
    assert result.step == first_bad_loss(logdir)
    assert result.samples == (1,)
    assert result.origin is not None and result.origin.op_type == "Exp"


@pytest.mark.slow
def test_a_batch_that_was_recorded_can_be_named(recorded: Path) -> None:
    # the one before the loss is NaN: its update is what is not finite
    step = read(recorded).recordings[-2].step
    named = recorded / "flight" / f"batch-{step:09d}.npz"
    result = replayed(recorded, f"{PROGRAMS / 'recorded.py'}:unordered_case", named)
    assert result.status is ReplayStatus.REPRODUCED, result.reason
    assert result.step == step + 1, "where the log shows it"
    assert result.samples == (bad_row(recorded, step),)


def test_a_damaged_batch_is_a_reason(recorded: Path, tmp_path: Path) -> None:
    batch = tmp_path / "batch.npz"
    np.savez(batch, x=np.array([object()]), allow_pickle=True)
    result = replayed(recorded, str(recorded / "flight/model.keras"), batch)
    assert result.status is ReplayStatus.NOT_RUN
    assert "Python objects" in result.reason


def test_recorded_states_are_checkpoints_of_the_run(recorded: Path) -> None:
    run = read(recorded)
    states = [c for c in run.checkpoint_stats if c.path.startswith("flight/state")]
    assert len(states) == 2
    for state in states:
        assert state.status is CheckpointStatus.CLEAN
        names = {t.name for t in state.tensors}
        assert any("seed_generator_state" in name for name in names), "dropout is exact"
        assert any(name.endswith("fc_kernel_momentum") for name in names)
    assert states[0].step is not None and states[0].step <= run.recordings[-1].step - 4


@pytest.mark.slow
def test_the_example_replays_bitwise(tmp_path: Path) -> None:
    run_program(ROOT / "examples/recorded_run/train.py", str(tmp_path))
    command = [sys.executable, "-m", "forensics", "analyze", str(tmp_path), "--trust"]
    output = tmp_path / "report.json"
    done: Any = subprocess.run(
        [*command, "--device", "cpu", "-o", str(output)], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 1, done.stderr
    import json

    replay = json.loads(output.read_text())["replay"]
    assert replay["status"] == "reproduced"
    assert EXACT in replay["reason"]
    assert replay["source"] == "recording"
    assert (replay["origin"]["op_type"], replay["origin"]["phase"]) == ("Log", "loss")
