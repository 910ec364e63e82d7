"""`forensics analyze` from the outside: results, exit codes, bad input."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from forensics.cli.main import main
from forensics.detectors.scenes import falling
from tests.cli.event_files import NAME, write_events

Validate = Callable[[Mapping[str, object]], None]

NAN_AT_60 = [*falling(60), *[math.nan] * 5]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def analyzed(logdir: Path, *arguments: object) -> tuple[dict[str, Any], int]:
    result = run("analyze", logdir, "--format", "json", *arguments)
    document: dict[str, Any] = json.loads(result.stdout)
    return document, result.exit_code


def one_line(result: Result) -> str:
    """What was written to stderr, which must be one line, with no traceback anywhere."""
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if not line.startswith("  ")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("forensics: ")
    return lines[0]


# -- results


def test_a_healthy_run(tmp_path: Path, schema_validator: Validate) -> None:
    write_events(tmp_path / "train", falling(120))
    document, code = analyzed(tmp_path)
    schema_validator(document)
    assert (document["verdict"]["status"], code) == ("healthy", 0)
    assert document["run"]["n_points"] == 120


def test_a_nan_loss(tmp_path: Path, schema_validator: Validate) -> None:
    write_events(tmp_path / "train", NAN_AT_60)
    document, code = analyzed(tmp_path)
    schema_validator(document)
    assert (document["verdict"]["status"], code) == ("failed", 1)
    assert document["verdict"]["first_bad_step"] == 60
    assert document["replay"]["status"] == "not_run"


def test_an_event_file_may_be_given(tmp_path: Path) -> None:
    path = write_events(tmp_path, NAN_AT_60)
    document, code = analyzed(path)
    assert (document["verdict"]["first_bad_step"], code) == (60, 1)


def test_the_folder_may_be_named_as_in_tensorboard(tmp_path: Path) -> None:
    write_events(tmp_path, NAN_AT_60)
    result = run("analyze", "--logdir", tmp_path)
    assert result.exit_code == 1
    assert "became NaN at step 60" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("form", "sign"), [("text", "FAILED"), ("markdown", "Failed"), ("html", "<!doctype html>")]
)
def test_formats_go_to_stdout(tmp_path: Path, form: str, sign: str) -> None:
    write_events(tmp_path, NAN_AT_60)
    result = run("analyze", tmp_path, "--format", form)
    assert result.exit_code == 1
    assert sign.lower() in result.stdout.lower()
    assert "\x1b" not in result.stdout


def test_files_are_written_by_their_suffix(tmp_path: Path) -> None:
    write_events(tmp_path / "run", NAN_AT_60)
    files = [tmp_path / f"report.{suffix}" for suffix in ("html", "json", "md", "txt")]
    result = run("analyze", tmp_path / "run", *(a for f in files for a in ("-o", f)))
    assert result.exit_code == 1
    starts = [f.read_text(encoding="utf-8").lstrip()[:1] for f in files]
    assert starts[:2] == ["<", "{"]
    assert all(starts)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["run", *(f.name for f in files)])


def test_a_saved_report_is_rendered_again_without_the_logs(tmp_path: Path) -> None:
    logs = tmp_path / "run"
    path = write_events(logs, NAN_AT_60)
    saved, first, second = (tmp_path / name for name in ("a.json", "a.html", "b.html"))
    run("analyze", logs, "-o", saved, "-o", first)
    path.unlink()
    result = run("render", saved, "-o", second)
    assert (result.exit_code, result.stdout) == (0, "")
    assert second.read_text(encoding="utf-8") == first.read_text(encoding="utf-8")


def test_an_offset_moves_the_step(tmp_path: Path) -> None:
    write_events(tmp_path, NAN_AT_60)
    document, _ = analyzed(tmp_path, "--step-offset", 5)
    assert document["verdict"]["first_bad_step"] == 65


@pytest.mark.parametrize(
    ("values", "fail_on", "code"),
    [
        (NAN_AT_60, "never", 0),
        (NAN_AT_60, "warning", 1),
        (NAN_AT_60, "info", 1),
        (falling(120), "warning", 0),
    ],
)
def test_the_severity_that_fails_is_chosen(
    tmp_path: Path, values: list[float], fail_on: str, code: int
) -> None:
    write_events(tmp_path, values)
    assert run("analyze", tmp_path, "--fail-on", fail_on).exit_code == code


# -- bad input


def test_a_missing_folder(tmp_path: Path) -> None:
    result = run("analyze", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "nowhere" in one_line(result)


def test_an_empty_folder(tmp_path: Path) -> None:
    result = run("analyze", tmp_path)
    assert result.exit_code == 2
    one_line(result)


def test_a_folder_without_events(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see", encoding="utf-8")
    result = run("analyze", tmp_path)
    assert result.exit_code == 2
    one_line(result)


def test_a_tail_cut_by_a_killed_writer_is_healthy(tmp_path: Path) -> None:
    path = write_events(tmp_path, falling(120))
    path.write_bytes(path.read_bytes()[:-7])
    document, code = analyzed(tmp_path)
    assert (document["verdict"]["status"], code) == ("healthy", 0)
    assert document["run"]["n_points"] == 119
    assert [i["state"] for i in document["inputs"]] == ["incomplete_tail"]


def test_a_damaged_record_is_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    path = write_events(tmp_path, falling(120))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    document, code = analyzed(tmp_path)
    assert document["run"]["n_points"] in (118, 119)
    assert [i["state"] for i in document["inputs"]] == ["damaged"]
    assert document["warnings"][0]["offset"] is not None
    assert code == 3


def test_damage_does_not_hide_a_failure(tmp_path: Path) -> None:
    path = write_events(tmp_path, NAN_AT_60)
    data = bytearray(path.read_bytes())
    data[100] ^= 0xFF
    path.write_bytes(data)
    document, code = analyzed(tmp_path)
    assert (document["verdict"]["status"], code) == ("failed", 1)


def test_garbage_is_unreadable(tmp_path: Path, schema_validator: Validate) -> None:
    (tmp_path / NAME).write_bytes(bytes(range(256)) * 8)
    document, code = analyzed(tmp_path)
    schema_validator(document)
    assert (document["verdict"]["status"], code) == ("unreadable", 3)
    assert document["verdict"]["cause"] == "corrupt_evidence"


@pytest.mark.tf
def test_a_checkpoint_without_its_data_shard(tmp_path: Path, schema_validator: Validate) -> None:
    write_events(tmp_path, falling(120))
    program = (
        "import sys, tensorflow as tf\n"
        "tf.train.Checkpoint(w=tf.Variable([1.0, 2.0])).write(sys.argv[1])"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "ckpt-7")], check=True, capture_output=True
    )
    document, code = analyzed(tmp_path)
    assert [(c["step"], c["status"]) for c in document["checkpoints"]] == [(7, "clean")]
    assert code == 0
    for shard in tmp_path.glob("ckpt-7.data-*"):
        shard.unlink()
    document, code = analyzed(tmp_path)
    schema_validator(document)
    assert [c["status"] for c in document["checkpoints"]] == ["damaged"]
    assert (document["verdict"]["status"], code) == ("healthy", 3)
    assert document["last_finite_checkpoint"] is None


# -- wrong usage


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "LOGDIR"),
        (["{run}", "--logdir", "{run}"], "twice"),
        (["{run}", "--frobnicate"], "--frobnicate"),
        (["{run}", "--format", "pdf"], "pdf"),
        (["{run}", "--fail-on", "fatal"], "fatal"),
        (["{run}", "-o", "report.pdf"], ".html"),
        (["{run}", "-o", "{run}/no/such/report.html"], "there is no folder"),
        (["{run}", "--replay", "{run}/nowhere.py:replay_case"], "nowhere.py"),
        (["{run}", "--replay", "train.py"], "FILE:function"),
        (["{run}", "--replay", ":replay_case"], "FILE:function"),
        (["{run}", "--replay-timeout", "0"], "--replay-timeout"),
        (["{run}", "--replay-timeout", "nan"], "--replay-timeout"),
        (["{run}", "--replay-timeout", "inf"], "--replay-timeout"),
        (["{run}", "--step-offset", "-200"], "negative"),
        (["{run}", "--step-offset", "1000000000000000000000000"], "--step-offset"),
        (["{run}", "--step-offset", "one"], "--step-offset"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, arguments: list[str], hint: str) -> None:
    write_events(tmp_path, falling(20))
    result = run("analyze", *(a.format(run=tmp_path) for a in arguments))
    assert result.exit_code == 2
    assert hint in one_line(result)
    assert result.stdout == ""


def test_an_unknown_command_is_one_line() -> None:
    result = run("analyse")
    assert result.exit_code == 2
    assert "analyse" in one_line(result)


def test_no_command_prints_the_help() -> None:
    result = run()
    assert result.exit_code == 2
    assert "analyze" in result.stderr


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": "9.0"}', "[" * 5000])
def test_what_is_no_report_is_not_rendered(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text, encoding="utf-8")
    result = run("render", path)
    assert result.exit_code == 2
    one_line(result)


def test_a_report_with_a_nan_literal_is_not_rendered(tmp_path: Path) -> None:
    write_events(tmp_path / "run", falling(30))
    saved = tmp_path / "a.json"
    run("analyze", tmp_path / "run", "-o", saved)
    saved.write_text(
        saved.read_text(encoding="utf-8").replace('"n_points": 30', '"n_points": NaN'),
        encoding="utf-8",
    )
    result = run("render", saved)
    assert result.exit_code == 2
    assert "NaN" in one_line(result)


# -- errors of our own


def test_an_internal_error_is_one_line_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug\nof two lines")

    monkeypatch.setattr("forensics.pipeline.analyze", broken)
    result = run("analyze", tmp_path)
    assert result.exit_code == 4
    assert "--debug" in one_line(result)
    debugged = run("analyze", tmp_path, "--debug")
    assert debugged.exit_code == 4
    assert "Traceback" in debugged.stderr


def test_an_interrupt_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    write_events(tmp_path / "run", falling(30))
    monkeypatch.setattr("forensics.pipeline.analyze", interrupted)
    result = run("analyze", tmp_path / "run", "-o", tmp_path / "a.html")
    assert result.exit_code == 130
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_file_that_cannot_be_written_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    write_events(tmp_path / "run", falling(30))
    target = tmp_path / "a.html"
    target.write_text("the old report", encoding="utf-8")
    monkeypatch.setattr(Path, "replace", full)
    result = run("analyze", tmp_path / "run", "-o", target)
    assert result.exit_code == 2
    assert "No space left" in one_line(result)
    assert target.read_text(encoding="utf-8") == "the old report"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "run"]


# -- what is loaded


def test_no_tensorflow_without_a_replay(tmp_path: Path, repo_root: Path) -> None:
    write_events(tmp_path, NAN_AT_60)
    program = (
        "import sys; from forensics.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'tensorflow', 'keras', 'tensorboard'} & set(sys.modules)\n"
        "print(code, *sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "analyze", str(tmp_path)],
        cwd=repo_root,
        capture_output=True,
        text=True,
    )
    assert done.stderr.splitlines()[-1] == "1"


def test_the_help_loads_nothing_heavy(repo_root: Path) -> None:
    program = (
        "import sys; from forensics.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'scipy', 'pandas', 'jinja2', 'rich', 'h5py'} & set(sys.modules)\n"
        "print(*sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repo_root, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_progress_goes_to_stderr_in_plain_lines(tmp_path: Path) -> None:
    write_events(tmp_path, falling(30))
    result = run("analyze", tmp_path, "--format", "json")
    json.loads(result.stdout)
    assert "reading" in result.stderr
    assert "\x1b" not in result.stderr
