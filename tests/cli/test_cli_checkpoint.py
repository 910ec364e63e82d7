"""`forensics checkpoint`: one, the way from one to another, and the first that is poisoned."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import save_file

from forensics.cli.main import main
from forensics.pipeline.examine import examine_checkpoints, worst_status
from forensics.report.checkpoint_contract import schema
from forensics.report.checkpoint_text import NOT_VERIFIABLE, render_checkpoint

Arrays = dict[str, np.ndarray[Any, Any]]
BUNDLE = Path(__file__).resolve().parents[1] / "data" / "checkpoints" / "adam" / "ckpt-1"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["checkpoint", *map(str, arguments)])


def document(*arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--format", "json").stdout)
    jsonschema.validate(found, schema())
    return found


def weights(step: int, bad: bool = False) -> Arrays:
    kernel = np.full((4, 3), 2.0, np.float32)
    kernel[0, 0] += step / 10
    bias = np.full(3, np.nan if bad else 1.0, np.float32)
    return {"dense/kernel": kernel, "dense/bias": bias, "frozen": np.ones(5, np.float16)}


@pytest.fixture
def series(tmp_path: Path) -> Path:
    for step in (10, 20, 30, 40):
        save_file(weights(step, bad=step >= 30), tmp_path / f"step_{step}.safetensors")
    return tmp_path


def named(series: Path, step: int) -> Path:
    return series / f"step_{step}.safetensors"


def test_one_checkpoint_is_a_table_of_its_tensors(series: Path) -> None:
    result = run(named(series, 10))
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("✓ CLEAN")
    assert "after step 10" in lines[1]
    assert NOT_VERIFIABLE in lines[2]
    assert [line.split()[-1] for line in lines[-4:]] == [
        "name", "dense/bias", "dense/kernel", "frozen",
    ]  # fmt: skip


@pytest.mark.parametrize("ending", ["", ".index"])
def test_a_bundle_by_its_prefix_or_its_index(ending: str) -> None:
    found = document(f"{BUNDLE}{ending}")
    (checkpoint,) = found["checkpoints"]
    assert checkpoint["format"] == "tensor_bundle"
    assert checkpoint["verifiable"]
    assert checkpoint["step"] == 4
    assert checkpoint["n_tensors"] == len(checkpoint["tensors"]) == 24
    assert len(found["inputs"]) == 2


def test_the_text_hides_what_every_key_of_a_bundle_ends_in() -> None:
    assert "VARIABLE_VALUE" not in run(BUNDLE).stdout


def test_a_difference(series: Path) -> None:
    found = document(named(series, 10), named(series, 20))
    assert found["difference"]["steps"] == 10
    assert found["difference"]["complete"]
    assert found["difference"]["n_unchanged"] == 2
    (changed,) = [t for t in found["difference"]["tensors"] if t["change"] == "changed"]
    assert changed["name"] == "dense/kernel"
    assert changed["difference_norm"] == pytest.approx(1.0)
    before = weights(10)["dense/kernel"].astype(np.float64)
    assert changed["update_ratio"] == pytest.approx(1.0 / np.linalg.norm(before))
    assert changed["max_change"] == pytest.approx(1.0)
    assert changed["became_bad"] == 0


def test_what_became_bad_comes_first(series: Path) -> None:
    result = run(named(series, 20), named(series, 30))
    assert result.exit_code == 1
    rows = [line for line in result.stdout.splitlines() if line.startswith("weight")]
    assert rows[0].endswith("dense/bias")
    assert rows[0].split()[-2] == "3"
    assert "1 unchanged" in result.stdout


def test_tensors_that_only_one_has_or_that_changed_shape(tmp_path: Path) -> None:
    one: Arrays = {"same": np.ones(2, np.float32), "gone": np.ones(1), "grown": np.ones((2, 3))}
    two: Arrays = {"same": np.ones(2, np.float32), "new": np.ones(1), "grown": np.ones((2, 4))}
    save_file(one, tmp_path / "a.safetensors")
    save_file(two, tmp_path / "b.safetensors")
    found = document(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert {t["name"]: t["change"] for t in found["difference"]["tensors"]} == {
        "same": "unchanged",
        "gone": "only_in_a",
        "new": "only_in_b",
        "grown": "shape_changed",
    }
    text = render_checkpoint(found)
    assert "grown (weight): 2 × 3 became 2 × 4" in text


def test_the_first_poisoned_of_a_series(series: Path) -> None:
    result = run(series)
    assert result.exit_code == 1
    assert result.stdout.startswith("First poisoned: step_30.safetensors\n")
    assert "Last clean one before it: step_20.safetensors" in result.stdout
    assert "All 4 checkpoints were read." in result.stdout
    found = document(series)
    assert [c["step"] for c in found["checkpoints"]] == [10, 20, 30, 40]
    assert [t["name"] for t in found["checkpoints"][2]["tensors"]] == ["dense/bias"]


def test_a_healthy_series(series: Path) -> None:
    for step in (30, 40):
        named(series, step).unlink()
    result = run(series)
    assert result.exit_code == 0
    assert result.stdout.startswith("No checkpoint is poisoned\n")


def test_a_remote_series_is_bisected_and_says_so() -> None:
    fsspec = pytest.importorskip("fsspec")
    from safetensors.numpy import save

    memory = fsspec.filesystem("memory")
    for step in range(1, 33):
        memory.pipe(f"/bisect/step_{step}.safetensors", save(weights(step, bad=step >= 23)))
    try:
        found = examine_checkpoints("memory://bisect")
    finally:
        memory.rm("/bisect", recursive=True)
    first = found["first_poisoned"]
    assert (first["path"], first["last_clean"]) == ("step_23.safetensors", "step_22.safetensors")
    assert first["method"] == "bisection"
    assert first["n_read"] < first["n_listed"] == 32
    assert "it is assumed that what was poisoned once stayed so" in render_checkpoint(found)


def test_a_damaged_checkpoint_is_not_silent(series: Path) -> None:
    path = named(series, 20)
    path.write_bytes(path.read_bytes()[:-4])
    result = run(path)
    assert result.exit_code == 3
    assert "! DAMAGED" in result.stdout
    assert "Not read completely" in result.stdout


def test_what_is_left_of_a_damaged_one_may_be_poisoned(tmp_path: Path) -> None:
    save_file({"a": np.full(4, np.nan), "b": np.ones(400)}, tmp_path / "x.safetensors")
    path = tmp_path / "x.safetensors"
    whole = examine_checkpoints(path)
    whole["checkpoints"][0]["status"] = "damaged"
    assert worst_status(whole) == "poisoned"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "no checkpoint"),
        ((".",), "no checkpoint below this folder"),
        (("../series", "../series"), "name one of them"),
        (("../series/step_10.safetensors", "-o", "x.txt"), "name a .json file"),
        (("gopher://x/y",), "gopher"),
    ],
)
def test_wrong_usage_is_one_line(
    series: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    inside = series / "empty"
    inside.mkdir()
    monkeypatch.chdir(inside)
    given = [a.replace("../series", os.fspath(series)) for a in arguments]
    with pytest.raises(SystemExit) as left:
        main(["checkpoint", *given])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_the_whole_result_is_written_as_json(series: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    assert run(named(series, 10), "-o", target).exit_code == 0
    assert json.loads(target.read_text()) == document(named(series, 10))


def test_names_cannot_steer_a_terminal(tmp_path: Path) -> None:
    save_file({"a\x1b[2J\nb": np.ones(2)}, tmp_path / "x.safetensors")
    text = run(tmp_path / "x.safetensors").stdout
    assert "\x1b" not in text
    assert "a\\x1b[2J\\x0ab" in text


def test_the_stored_schema_is_current(repo_root: Path) -> None:
    stored = json.loads((repo_root / "docs" / "checkpoint.schema.json").read_text("utf-8"))
    assert stored == schema(), (
        "run `python -m forensics.report.checkpoint_contract docs/checkpoint.schema.json`"
    )


def test_a_folder_that_is_a_checkpoint_has_its_own_name(tmp_path: Path) -> None:
    """Steps of a manager are folders: what they are called tells how far the run had come."""
    with zipfile.ZipFile(BUNDLE.parents[2] / "orbax" / "manager.zip") as archive:
        archive.extractall(tmp_path)
    steps = sorted((f for f in tmp_path.rglob("*") if f.name.isdecimal()), key=lambda f: f.name)
    found = document(steps[0], steps[-1])
    assert [c["path"] for c in found["checkpoints"]] == [steps[0].name, steps[-1].name]
    assert found["difference"]["steps"] == int(steps[-1].name) - int(steps[0].name)
    assert document(steps[0] / "_CHECKPOINT_METADATA")["checkpoints"] == found["checkpoints"][:1]


def test_the_file_of_a_saved_model_names_all_of_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(BUNDLE.parents[2] / "saved_models" / "keras3.zip") as archive:
        archive.extractall(tmp_path)
    model = tmp_path / "export_2" / "saved_model.pb"
    whole, by_file = document(model.parent), document(model)
    assert whole["checkpoints"][0]["n_tensors"] > 0
    assert by_file == whole


def test_the_last_clean_one_is_of_the_same_run(tmp_path: Path) -> None:
    for run_folder, steps, bad_from in (("a", (10, 15, 20), 99), ("b", (10, 12, 20), 20)):
        (tmp_path / run_folder).mkdir()
        for step in steps:
            target = tmp_path / run_folder / f"step_{step}.safetensors"
            save_file(weights(step, step >= bad_from), target)
    first = document(tmp_path)["first_poisoned"]
    assert first["path"] == "b/step_20.safetensors"
    assert first["last_clean"] == "b/step_12.safetensors"
