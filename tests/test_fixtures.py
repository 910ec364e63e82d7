"""Every recorded run against its truth: from the logs alone, and as its stored report says."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from forensics.pipeline import analyze

FIXTURES = Path(__file__).parent.parent / "fixtures"
FOLDERS = sorted(p.parent for p in FIXTURES.glob("*/*/truth.toml"))


def _name(folder: Path) -> str:
    return folder.relative_to(FIXTURES).as_posix()


@pytest.fixture(params=FOLDERS, ids=_name)
def fixture(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.param
    return folder


def truth_of(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "truth.toml").read_text())


def loud(document: Mapping[str, Any]) -> set[str]:
    """Codes of findings that are more than a note."""
    return {f["code"] for f in document["findings"] if f["severity"] != "info"}


def test_there_are_failing_and_healthy_fixtures() -> None:
    statuses = [truth_of(f)["status"] for f in FOLDERS]
    assert statuses.count("failed") >= 2
    assert statuses.count("healthy") >= 2


def test_logs_and_checkpoints_alone(
    fixture: Path, schema_validator: Callable[[Mapping[str, object]], None]
) -> None:
    truth = truth_of(fixture)
    document = analyze(fixture / fixture.name).to_dict()
    schema_validator(document)
    verdict = document["verdict"]
    assert verdict["status"] == truth["status"]
    assert set(truth["fire"]) <= loud(document)
    assert not set(truth["silent"]) & loud(document)
    if truth["status"] == "failed":
        lo, hi = verdict["first_bad_step_interval"]
        assert lo - truth["tolerance"] <= truth["first_bad_step"] <= hi + truth["tolerance"]
        wanted = truth["last_checkpoint_before_onset"]
        assert document["last_checkpoint_before_onset"] == wanted
    else:
        assert verdict["cause"] == "healthy"


def test_stored_report_says_the_truth(
    fixture: Path, schema_validator: Callable[[Mapping[str, object]], None]
) -> None:
    truth = truth_of(fixture)
    document = json.loads((fixture / "report.json").read_text())
    schema_validator(document)
    verdict, replay = document["verdict"], document["replay"]
    assert verdict["status"] == truth["status"]
    assert verdict["cause"] in truth["causes"]
    assert set(truth["fire"]) | set(truth.get("fire_after_replay", ())) <= loud(document)
    if "origin" not in truth:
        assert replay["origin"] is None
        return
    assert abs(verdict["first_bad_step"] - truth["first_bad_step"]) <= truth["tolerance"]
    assert replay["status"] == "reproduced"
    wanted, found = truth["origin"], replay["origin"]
    assert found["op_type"] in wanted["op_types"]
    assert found["phase"] == wanted["phase"]
    assert (found["source"]["file"], found["source"]["code"]) == (wanted["file"], wanted["code"])
    if "layer" in wanted:
        assert found["layer"].split("/")[-1] == wanted["layer"]


def test_no_file_of_a_fixture_names_the_machine(fixture: Path) -> None:
    for file in (fixture / fixture.name).rglob("*tfevents*"):
        assert ".host." in file.name
    assert str(Path.home()) not in (fixture / "report.json").read_text()
