"""What `--replay` may name, and what is run only with consent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forensics.domain.run import RecordedBatch, Run
from forensics.errors import ConsentNeeded, UsageError
from forensics.pipeline import analyze
from forensics.replay.request import ReplayOptions
from forensics.replay.source import Source, SourceKind, consented_source, parse_source


def recording(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "batch-000000004.npz").touch()
    return folder


def test_a_recording_is_named_by_its_folder_or_the_one_above(tmp_path: Path) -> None:
    folder = recording(tmp_path / "run" / "flight")
    expected = Source(SourceKind.RECORDING, folder.resolve())
    assert parse_source(str(folder)) == parse_source(str(folder.parent)) == expected
    moved = recording(tmp_path / "ticket")
    assert parse_source(str(moved)).path == moved.resolve()


def test_a_saved_model_is_named_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()
    assert parse_source(str(tmp_path)) == Source(SourceKind.SAVED_MODEL, tmp_path.resolve())


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_keras_file_needs_a_batch(tmp_path: Path, name: str) -> None:
    file, batch = tmp_path / name, tmp_path / "batch.npz"
    file.touch()
    with pytest.raises(UsageError, match="add --batch"):
        parse_source(str(file))
    assert parse_source(str(file), batch) == Source(SourceKind.KERAS_FILE, file.resolve())


def test_an_entry_point_is_a_file_and_a_function(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.touch()
    expected = Source(SourceKind.ENTRY_POINT, file.resolve(), "case")
    assert parse_source(f"{file}:case") == expected


@pytest.mark.parametrize("name", [".", "train.py", "absent/flight", "model.pt"])
def test_wrong_usage_is_one_line_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").touch()
    with pytest.raises(UsageError) as caught:
        parse_source(name)
    message = str(caught.value)
    assert "\n" not in message
    assert "FILE:function" in message and "recording" in message and ".keras" in message


def run_of(root: Path, *paths: str) -> Run:
    batches = tuple(RecordedBatch(path, 4 + i) for i, path in enumerate(paths))
    return Run("run", str(root), (), recordings=batches)


def test_what_is_found_is_run_only_if_trusted(tmp_path: Path) -> None:
    recorded = run_of(tmp_path, "flight/batch-4.npz", "a/flight/batch-5.npz")
    assert consented_source(recorded, ReplayOptions()) is None
    trusted = consented_source(recorded, ReplayOptions(trust=True))
    assert trusted == str((tmp_path / "a/flight").resolve()), "the one that went furthest"


@pytest.mark.parametrize(
    "wanted", [{"scan": True}, {"batch": Path("b.npz")}, {"reproducer": Path("out")}]
)
def test_what_needs_a_replay_asks_for_consent_or_for_a_program(
    tmp_path: Path, wanted: dict[str, Any]
) -> None:
    option = f"--{next(iter(wanted))}"
    with pytest.raises(ConsentNeeded, match=f"{option}: .*--trust.*--replay") as caught:
        consented_source(run_of(tmp_path, "flight/batch-4.npz"), ReplayOptions(**wanted))
    assert caught.value.exit_code == 5
    with pytest.raises(UsageError, match=f"{option}: .*--replay FILE:function"):
        consented_source(run_of(tmp_path), ReplayOptions(**wanted))


def test_trust_without_a_recording_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recording"):
        consented_source(run_of(tmp_path), ReplayOptions(trust=True))


def test_the_report_of_a_recorded_run_says_how_to_replay_it(tmp_path: Path) -> None:
    recording(tmp_path / "flight")
    report = analyze(tmp_path).to_dict()
    assert report["replay"]["status"] == "not_run"
    unseen = [n for n in report["not_checked"] if "replay" in n["needs"]]
    assert unseen
    assert {n["how_to_record"] for n in unseen} == {"forensics analyze LOGDIR --trust"}
    assert all("only if you trust" in n["reason"] for n in unseen)
