"""What becomes of a replay that cannot work: a record, and the verdict of the logs stands."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from forensics.cli.main import main
from forensics.detectors.scenes import falling
from tests.cli.event_files import write_events

Validate = Callable[[Mapping[str, object]], None]


def replayed(tmp_path: Path, program: str, *arguments: str) -> dict[str, Any]:
    """Analyse a run that failed at step 60, with a program that is no good for a replay."""
    write_events(tmp_path / "run", [*falling(60), math.nan])
    file = tmp_path / "train.py"
    file.write_text(program, encoding="utf-8")
    entry = f"{file}:replay_case"
    options = ["analyze", str(tmp_path / "run"), "--replay", entry, "--format", "json", *arguments]
    result = CliRunner().invoke(main, options)
    assert "Traceback" not in result.output
    assert result.exit_code == 1
    document: dict[str, Any] = json.loads(result.stdout)
    assert document["verdict"]["status"] == "failed"
    assert document["verdict"]["first_bad_step"] == 60
    return document


@pytest.mark.parametrize(
    ("program", "status", "reason"),
    [
        ("x = 1\n", "not_run", "no function 'replay_case'"),
        ("replay_case = 3\n", "not_run", "no function 'replay_case'"),
        ("raise RuntimeError('no data here')\n", "not_run", "no data here"),
        ("import no_such_package_at_all\n", "not_run", "no_such_package_at_all"),
        ("def replay_case(:\n", "not_run", "SyntaxError"),
        ("def replay_case():\n    raise KeyError('rows')\n", "not_run", "rows"),
        ("def replay_case():\n    return None\n", "not_run", "None"),
        ("def replay_case():\n    return {'model': None}\n", "not_run", "neither"),
        ("raise SystemExit(3)\n", "not_run", "SystemExit"),
        ("import os\nos._exit(7)\n", "crashed", "exit code 7"),
        ("import os\nos.kill(os.getpid(), 9)\n", "crashed", "SIGKILL"),
    ],
)
def test_a_program_that_gives_no_case(
    tmp_path: Path, schema_validator: Validate, program: str, status: str, reason: str
) -> None:
    document = replayed(tmp_path, program)
    schema_validator(document)
    assert document["replay"]["status"] == status
    assert reason in document["replay"]["reason"]


def test_a_replay_that_was_refused_leaves_a_healthy_run_not_fully_examined(tmp_path: Path) -> None:
    write_events(tmp_path / "run", falling(120))
    file = tmp_path / "train.py"
    file.write_text("raise RuntimeError('no data here')\n", encoding="utf-8")
    options = ["analyze", str(tmp_path / "run"), "--replay", f"{file}:replay_case"]
    result = CliRunner().invoke(main, [*options, "--format", "json"])
    assert json.loads(result.stdout)["verdict"]["status"] == "healthy"
    assert result.exit_code == 3


def test_a_program_that_hangs_is_stopped(tmp_path: Path, schema_validator: Validate) -> None:
    document = replayed(tmp_path, "import time\ntime.sleep(600)\n", "--replay-timeout", "2")
    schema_validator(document)
    assert document["replay"]["status"] == "crashed"
    assert "stopped after 2 s" in document["replay"]["reason"]


def test_what_a_program_prints_is_no_answer(tmp_path: Path) -> None:
    program = (
        'print(\'{"answer": {"status": "reproduced", "reason": ""}}\', flush=True)\n'
        "raise RuntimeError('then it fails')\n"
    )
    document = replayed(tmp_path, program)
    assert document["replay"]["status"] == "not_run"
    assert "then it fails" in document["replay"]["reason"]
