"""Where results go and come from: a full or closed stdout, a pipe that closed, what is no file."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from forensics.cli import render
from forensics.cli.main import main
from forensics.detectors.scenes import falling
from forensics.errors import SeveralRuns
from tests.cli.event_files import write_events

FULL = Path("/dev/full")


def shell(repo_root: Path, redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line with its stdout redirected by a shell."""
    line = [sys.executable, "-m", "forensics", *arguments]
    script = f'"$@" {redirection}'
    return subprocess.run(
        ["bash", "-c", script, "bash", *line], cwd=repo_root, capture_output=True, text=True
    )


def complaints(stderr: str) -> Sequence[str]:
    assert "Traceback" not in stderr
    assert "Exception ignored" not in stderr
    return [line for line in stderr.splitlines() if not line.startswith("  ")]


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["analyze", "{run}"], ["explain"], ["--help"]])
def test_a_full_disk_is_one_line(tmp_path: Path, repo_root: Path, arguments: list[str]) -> None:
    write_events(tmp_path, [*falling(60), math.nan])
    done = shell(repo_root, "> /dev/full", *(a.format(run=tmp_path) for a in arguments))
    assert done.returncode == 4
    (line,) = complaints(done.stderr)
    assert line.startswith("forensics: cannot write to stdout: ")


def test_a_closed_stdout_is_one_line(tmp_path: Path, repo_root: Path) -> None:
    write_events(tmp_path, falling(60))
    done = shell(repo_root, ">&-", "analyze", str(tmp_path))
    assert done.returncode == 4
    assert complaints(done.stderr) == ["forensics: cannot write to stdout: it is closed"]


def test_a_reader_that_went_away_is_no_error(repo_root: Path) -> None:
    done = shell(repo_root, "| exec 0<&-", "explain")
    assert complaints(done.stderr) == []


@pytest.mark.parametrize("kind", ["fifo", "folder", "device"])
def test_what_is_no_regular_file_is_not_rendered(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "report.json"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path = Path(os.devnull)
    result = CliRunner().invoke(main, ["render", str(path)])
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"forensics: {path} is no regular file: name a saved report.json"
    ]


def test_a_file_too_large_for_a_report_is_not_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "_MOST_BYTES", 10)
    path = tmp_path / "report.json"
    path.write_text("[" * 11, encoding="utf-8")
    result = CliRunner().invoke(main, ["render", str(path)])
    assert result.exit_code == 2
    assert "larger than" in result.stderr


def test_several_runs_are_named_and_no_command_that_does_not_exist() -> None:
    message = str(SeveralRuns(("a", "b")))
    assert "(a, b): analyse them one at a time" in message
    assert "`" not in message
