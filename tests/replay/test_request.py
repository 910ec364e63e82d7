"""What the parent asks of the child, and where it lets it start."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.run import (
    CheckpointFormat,
    CheckpointStats,
    CheckpointStatus,
    Run,
    Series,
    StepSource,
)
from forensics.errors import UsageError
from forensics.replay import runner
from forensics.replay.request import ReplayRequest
from forensics.replay.runner import start_points
from forensics.replay.sandbox import child
from forensics.replay.source import parse_entry

CLEAN, POISONED, DAMAGED = (
    CheckpointStatus.CLEAN,
    CheckpointStatus.POISONED,
    CheckpointStatus.DAMAGED,
)


def checkpoint(step: int | None, status: CheckpointStatus = CLEAN) -> CheckpointStats:
    return CheckpointStats(
        f"ckpt/ckpt-{step}",
        CheckpointFormat.TENSOR_BUNDLE,
        step,
        None if step is None else StepSource.FILE_NAME,
        (),
        status,
    )


def request(*checkpoints: CheckpointStats, **fields: Any) -> ReplayRequest:
    return ReplayRequest(Run("run", "/logs", (), checkpoints), "train.py:case", **fields)


def loss(at: list[int], values: list[float]) -> Series:
    return Series(
        Quantity.TRAIN_LOSS, "loss", ".", StepAxis.BATCH, np.asarray(at, np.int64),
        np.asarray(values, np.float64), np.zeros(len(at)),
    )  # fmt: skip


def steps(*checkpoints: CheckpointStats, **fields: Any) -> list[int | None]:
    return [c.step for c in start_points(request(*checkpoints, **fields))]


def test_an_entry_is_a_file_and_a_function(tmp_path: Path) -> None:
    file = tmp_path / "train:v2.py"
    file.touch()
    assert parse_entry(f"{file}:replay_case") == (file.resolve(), "replay_case")


@pytest.mark.parametrize("entry", ["train.py", ":case", "train.py:", "train.py:a b", "", "a:1x"])
def test_an_entry_without_file_or_function_is_refused(entry: str) -> None:
    with pytest.raises(UsageError, match="FILE:function"):
        parse_entry(entry)


def test_an_entry_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file"):
        parse_entry(f"{tmp_path / 'absent.py'}:case")
    with pytest.raises(UsageError, match="no file"):
        parse_entry(f"{tmp_path}:case")


def test_starts_are_clean_and_the_latest_comes_first() -> None:
    found = steps(checkpoint(5), checkpoint(20), checkpoint(10), symptom="non_finite",
                  failing_step=30)  # fmt: skip
    assert found == [20, 10, 5]


def test_a_start_lies_before_the_failure_and_before_every_poisoned_checkpoint() -> None:
    states = (checkpoint(10), checkpoint(20, POISONED), checkpoint(25), checkpoint(40))
    assert steps(*states, symptom="non_finite", failing_step=30) == [10]
    assert steps(checkpoint(10), checkpoint(31), symptom="non_finite", failing_step=30) == [10]


def test_without_a_failure_every_clean_checkpoint_will_do() -> None:
    assert steps(checkpoint(10), checkpoint(99), checkpoint(None), checkpoint(3, DAMAGED)) == [
        99,
        10,
    ]


def test_the_upper_end_of_the_interval_bounds_the_start() -> None:
    assert steps(checkpoint(10), checkpoint(19), checkpoint(21), symptom="non_finite",
                 interval=(15, 20)) == [19, 10]  # fmt: skip


def test_an_offset_shifts_logged_steps_against_batches() -> None:
    assert steps(checkpoint(30), checkpoint(31), symptom="non_finite", failing_step=30,
                 step_offset=-1) == [30]  # fmt: skip


@pytest.fixture
def asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[ReplayRequest], dict[str, Any]]:
    """Run a replay with a child that only writes down what it was asked."""
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import pathlib, sys\n"
        f"pathlib.Path({str(tmp_path / 'asked')!r}).write_text(sys.stdin.read())\n"
    )
    monkeypatch.setattr(child, "WORKER", worker)
    program = tmp_path / "train.py"
    program.touch()

    def ask(wanted: ReplayRequest) -> dict[str, Any]:
        fields = {f: getattr(wanted, f) for f in ("failing_step", "interval", "symptom")}
        more = {f: getattr(wanted, f) for f in ("step_offset", "loss_limit", "timeout")}
        runner.run_replay(
            ReplayRequest(wanted.run, f"{program}:case", **fields, **more), lambda line: None
        )
        return dict(json.loads((tmp_path / "asked").read_text()))

    return ask


def test_the_child_is_offered_three_starts_and_one_with_room_for_remedies(
    asked: Callable[[ReplayRequest], dict[str, Any]],
) -> None:
    states = [checkpoint(n) for n in range(1, 31)]
    message = asked(request(*states, symptom="non_finite", failing_step=30, interval=(30, 30)))
    assert [c["step"] for c in message["checkpoints"]] == [30, 29, 28, 22]
    assert message["checkpoints"][0]["path"] == "/logs/ckpt/ckpt-30"
    assert message["checkpoints"][0]["format"] == "tensor_bundle"
    assert message["last_step"] == message["clean_step"] == message["observe_step"] == 30
    assert 0 < message["seconds"] < 600


def test_formats_that_are_not_loaded_are_passed_over(
    asked: Callable[[ReplayRequest], dict[str, Any]],
) -> None:
    other = [replace(checkpoint(n), format=CheckpointFormat.ORBAX, path=f"run/{n}") for n in (8, 9)]
    wanted: dict[str, Any] = {"symptom": "non_finite", "failing_step": 9, "interval": (9, 9)}
    message = asked(request(checkpoint(3), *other, **wanted))
    assert [c["step"] for c in message["checkpoints"]] == [3]
    # Where there is nothing else, the child is told of it and says why it cannot be used.
    message = asked(request(*other, **wanted))
    assert [(c["step"], c["format"]) for c in message["checkpoints"]] == [(9, "orbax")]


def test_the_child_counts_batches(asked: Callable[[ReplayRequest], dict[str, Any]]) -> None:
    message = asked(request(checkpoint(20), symptom="non_finite", failing_step=30,
                            interval=(25, 30), step_offset=-1))  # fmt: skip
    assert (message["last_step"], message["clean_step"]) == (29, 24)
    assert [c["step"] for c in message["checkpoints"]] == [19]


def test_a_divergence_is_approached_from_before_it_began(
    asked: Callable[[ReplayRequest], dict[str, Any]],
) -> None:
    message = asked(request(checkpoint(10), checkpoint(40), symptom="diverged", failing_step=50,
                            interval=(20, 50), loss_limit=3.5))  # fmt: skip
    assert [c["step"] for c in message["checkpoints"]] == [10]
    assert message["loss_limit"] == 3.5


def test_nothing_is_wanted_of_a_run_that_did_not_fail(
    asked: Callable[[ReplayRequest], dict[str, Any]],
) -> None:
    message = asked(request(checkpoint(10)))
    assert message["symptom"] == "none"
    assert message["clean_step"] is None
    assert message["finite_losses"] == []
    # batch 10 comes after the checkpoint of 10 steps: the run need not have had it
    assert message["observe_step"] == 9


def test_what_speaks_against_another_failure_is_told(
    asked: Callable[[ReplayRequest], dict[str, Any]],
) -> None:
    nan = math.nan
    losses = (
        loss([0, 1, 2, 5, 6, 7, 9, 40], [3.0, 2.0, 1.0, 1.0, nan, 1.0, nan, 1.0]),
        loss([1, 5, 7], [2.0, 1.0, nan]),
    )
    states = (checkpoint(4), checkpoint(8, POISONED), checkpoint(9))
    run = Run("run", "/logs", losses, states)
    wanted = ReplayRequest(run, "", symptom="non_finite", failing_step=9, interval=(5, 9))
    message = asked(wanted)
    assert message["finite_losses"] == [[0, 2], [5, 5]]
    assert message["clean_state"] == 4
    shifted = asked(replace(wanted, step_offset=-1))
    assert shifted["finite_losses"] == [[0, 1], [4, 4]]
    assert (shifted["clean_state"], shifted["clean_step"]) == (3, 4)


def test_the_observed_batch_is_one_that_the_run_trained(
    asked: Callable[[ReplayRequest], dict[str, Any]],
) -> None:
    run = Run("run", "/logs", (loss([0, 7, 15], [1.0, 1.0, 1.0]),), (checkpoint(8),))
    assert asked(ReplayRequest(run, ""))["observe_step"] == 15
    assert asked(ReplayRequest(Run("run", "/logs", ()), ""))["observe_step"] == 0
