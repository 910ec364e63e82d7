"""The demo's runs, really trained: the answer is known, so every part of it is checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from forensics.cli.main import main
from forensics.demo import ACTS as DEMO_ACTS
from forensics.demo import TRAIN, DemoResult, Told, TrainingFailed, train
from forensics.domain.report import Report

Validate = Callable[[Mapping[str, object]], None]
Document = dict[str, Any]

FAILING_STEP = 108
"""The blank frame is image 5,423 of batches of 50."""
BLANK_ROW = 23


def faulty_line() -> int:
    lines = TRAIN.read_text(encoding="utf-8").splitlines()
    return 1 + next(i for i, line in enumerate(lines) if "(images - mean) / std" in line)


@pytest.fixture(scope="session")
def failed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run with 9,000 images, trained once."""
    folder = tmp_path_factory.mktemp("demo") / "failed-9000"
    train(folder, 9_000)
    return folder


@pytest.fixture(scope="session")
def from_logs(failed_run: Path) -> Document:
    """What logs and checkpoints alone tell."""
    result = CliRunner().invoke(main, ["analyze", str(failed_run), "--format", "json"])
    assert result.exit_code == 1, result.output
    document: Document = json.loads(result.stdout)
    return document


@pytest.fixture(scope="session")
def proven(failed_run: Path) -> Document:
    """The same with the failing step run again."""
    entry = f"{TRAIN}:replay_case"
    arguments = ["analyze", str(failed_run), "--replay", entry, "--format", "json"]
    result = CliRunner().invoke(main, [*arguments, "--device", "cpu"])
    assert result.exit_code == 1, result.output
    document: Document = json.loads(result.stdout)
    return document


@pytest.mark.tf
def test_logs_and_checkpoints_date_the_failure(
    from_logs: Document, schema_validator: Validate
) -> None:
    schema_validator(from_logs)
    verdict = from_logs["verdict"]
    assert (verdict["status"], verdict["step_axis"]) == ("failed", "batch")
    assert verdict["first_bad_step"] == FAILING_STEP
    low, high = verdict["first_bad_step_interval"]
    assert low <= FAILING_STEP <= high and high - low <= 1
    assert from_logs["replay"]["status"] == "not_run"


@pytest.mark.tf
def test_the_checkpoints_are_sorted_into_clean_and_poisoned(from_logs: Document) -> None:
    states = {c["step"]: c["status"] for c in from_logs["checkpoints"]}
    assert sorted(states) == list(range(20, 181, 20))
    assert {step for step, state in states.items() if state == "clean"} == {20, 40, 60, 80, 100}
    assert {step for step, state in states.items() if state == "poisoned"} == {120, 140, 160, 180}
    assert from_logs["last_checkpoint_before_onset"].endswith("step_00100.weights.h5")
    assert from_logs["first_poisoned_checkpoint"].endswith("step_00120.weights.h5")


@pytest.mark.tf
def test_the_replay_names_step_op_layer_and_line(
    proven: Document, schema_validator: Validate
) -> None:
    schema_validator(proven)
    replay = proven["replay"]
    assert (replay["status"], replay["step"]) == ("reproduced", FAILING_STEP)
    origin = replay["origin"]
    assert (origin["op_type"], origin["phase"]) == ("RealDiv", "forward")
    assert origin["layer"].split("/")[-1] == "standardize"
    assert Path(origin["source"]["file"]).name == "train.py"
    assert origin["source"]["line"] == faulty_line()
    assert replay["samples"] == [BLANK_ROW]
    assert replay["started_from"].endswith("step_00100.weights.h5")


@pytest.mark.tf
def test_the_verdict_names_the_cause_and_the_checkpoint(proven: Document) -> None:
    verdict = proven["verdict"]
    assert (verdict["status"], verdict["cause"]) == ("failed", "unsafe_operation")
    assert verdict["first_bad_step_interval"] == [FAILING_STEP, FAILING_STEP]
    assert verdict["grade"] in ("reproduced", "fix_verified")
    assert verdict["headline"].startswith(
        f"Loss became NaN at step {FAILING_STEP}: RealDiv (0/0) in layer `standardize` "
        f"(train.py:{faulty_line()})"
    )
    assert proven["last_checkpoint_before_onset"].endswith("step_00100.weights.h5")


@pytest.mark.tf
def test_neither_clipping_nor_a_smaller_rate_helps_against_a_blank_frame(proven: Document) -> None:
    trials = {t["remedy"]: t["status"] for t in proven["replay"]["trials"]}
    for remedy in ("clip_global_norm", "learning_rate_div_10"):
        assert trials[remedy] == "still_fails"


@pytest.mark.tf
@pytest.mark.slow
def test_the_demo_ends_as_described(tmp_path: Path, schema_validator: Validate) -> None:
    output = tmp_path / "demo"
    result = CliRunner().invoke(main, ["demo", "--output", str(output), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "100 images: healthy" in result.stdout
    assert "9,000 images: failed" in result.stdout
    for name in ("healthy-100", "failed-9000"):
        assert f"{name}.html" in result.stdout
        schema_validator(json.loads((output / f"{name}.json").read_text(encoding="utf-8")))
        assert (output / f"{name}.html").read_text(encoding="utf-8").startswith("<!")


def test_a_program_that_fails_is_named_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "broken.py"
    program.write_text("raise SystemExit('no memory')\n", encoding="utf-8")
    monkeypatch.setattr("forensics.demo.TRAIN", program)
    with pytest.raises(TrainingFailed, match=r"no memory.*stdout\.txt"):
        train(tmp_path / "run", 100)


def test_a_demo_that_goes_another_way_says_so() -> None:
    def told(status: str, replay: str) -> DemoResult:
        act = DEMO_ACTS[1]
        document = {"verdict": {"status": status}, "replay": {"status": replay}}
        return DemoResult((Told(act, Report(document), ()),))

    assert told("failed", "reproduced").as_described
    assert not told("failed", "not_reproduced").as_described
    assert not told("healthy", "reproduced").as_described
