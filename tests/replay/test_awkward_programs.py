"""Entry points that give no case, and steps that do what steps should not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from forensics.domain.replay import ReplayStatus
from forensics.domain.run import Run
from forensics.errors import UsageError
from forensics.replay.request import ReplayRequest
from forensics.replay.runner import run_replay
from tests.replay.replaying import replay


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("raises", "raises() raised: RuntimeError: no data on this machine"),
        ("leaves", "leaves() raised: SystemExit: usage: train.py OUTDIR"),
        ("gives_nothing", "gives_nothing() returned None"),
        ("gives_a_number", "neither a model nor a step"),
        ("without_batches", "neither batch nor dataset"),
        ("with_batches_in_a_list", "batch= of the case is no function"),
        ("not_there", "awkward.py has no function 'not_there'"),
        ("not_callable", "awkward.py has no function 'not_callable'"),
    ],
)
def test_an_entry_point_that_gives_no_case_is_told_why(function: str, said: str) -> None:
    result = replay("awkward", function, failing_step=3)
    assert result.status is ReplayStatus.NOT_RUN
    assert said in result.reason


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        ("def f(:", "SyntaxError"),
        ("raise SystemExit(2)", "SystemExit"),
    ],
)
def test_a_program_that_cannot_be_imported_is_told_why(
    tmp_path: Path, text: str, said: str
) -> None:
    program = tmp_path / "json.py"  # named like a module that the worker uses
    program.write_text(text)
    result = run_replay(
        ReplayRequest(Run("r", str(tmp_path), ()), f"{program}:case"), lambda line: None
    )
    assert result.status is ReplayStatus.NOT_RUN
    assert "json.py raised while it was imported" in result.reason
    assert said in result.reason


def test_what_a_program_prints_is_no_answer(tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    program.write_text(
        "import os, helper\n"
        """print('{"answer": {"status": "not_reproduced"}}', flush=True)\n"""
        """os.write(1, b'{"answer": {"status": "not_reproduced"}}\\n')\n"""
        "def case():\n    return None\n"
    )
    (tmp_path / "helper.py").touch()  # found beside the program
    result = run_replay(
        ReplayRequest(Run("r", str(tmp_path), ()), f"{program}:case"), lambda line: None
    )
    assert result.status is ReplayStatus.NOT_RUN
    assert "returned None" in result.reason


def test_a_program_finds_its_modules_by_pythonpath(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "my_models.py").write_text("def case():\n    return None\n")
    program = tmp_path / "train.py"
    program.write_text("from my_models import case\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'lib'}{os.pathsep}{tmp_path}")
    result = run_replay(
        ReplayRequest(Run("r", str(tmp_path), ()), f"{program}:case"), lambda line: None
    )
    assert "returned None" in result.reason


def test_a_missing_program_is_the_callers_mistake() -> None:
    with pytest.raises(UsageError):
        replay("not_there", failing_step=3)


@pytest.mark.tf
@pytest.mark.slow
def test_a_step_that_leaves_the_program_is_reproduced() -> None:
    result = replay("awkward", "exiting_case", failing_step=2)
    assert result.status is ReplayStatus.REPRODUCED
    assert (result.step, result.symptom) == (2, "raised")
    assert "loss is not finite" in result.attempts[0].outcome
    assert result.origin is None


@pytest.mark.tf
@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_step_that_kills_its_process_is_a_crash_and_no_exception() -> None:
    result = replay("awkward", "dying_case", failing_step=2)
    assert result.status is ReplayStatus.CRASHED
    assert "SIGKILL" in result.reason


@pytest.mark.tf
@pytest.mark.slow
def test_a_step_without_end_is_stopped_at_the_deadline() -> None:
    result = replay("awkward", "endless_case", failing_step=2, timeout=40.0)
    assert result.status is ReplayStatus.CRASHED
    assert "stopped after 40 s" in result.reason


@pytest.mark.tf
@pytest.mark.slow
def test_a_batch_that_cannot_be_had_is_told() -> None:
    result = replay("awkward", "unreadable_case", failing_step=2)
    assert result.status is ReplayStatus.NOT_RUN
    assert "FileNotFoundError: batches.npz" in result.reason
