"""The document: what the schema demands and what readers accept."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from forensics.domain.report import SECTIONS, Report
from forensics.errors import ReportUnreadable
from forensics.report.contract import SCHEMA_ID, read_document, schema
from tests.report.documents import ALL, big_report, nan_report

Validate = Callable[[Mapping[str, object]], None]


def test_the_schema_in_docs_is_current(repo_root: Path) -> None:
    stored = json.loads((repo_root / "docs" / "report.schema.json").read_text(encoding="utf-8"))
    assert stored == schema(), (
        "run `python -m forensics.report.contract docs/report.schema.json` and commit the result"
    )


def test_the_schema_names_itself_and_every_section() -> None:
    made = schema()
    assert made["$id"] == SCHEMA_ID
    assert made["$schema"].endswith("2020-12/schema")
    assert tuple(made["required"]) == SECTIONS


@pytest.mark.parametrize("name", ALL)
def test_the_documents_of_these_tests_follow_the_schema(
    name: str, schema_validator: Validate
) -> None:
    schema_validator(ALL[name]().document)


def test_downsampled_curves_follow_the_schema(schema_validator: Validate) -> None:
    schema_validator(big_report(points=20).document)


def errors_of(document: Mapping[str, Any]) -> list[str]:
    found = Draft202012Validator(schema()).iter_errors(document)
    return [error.json_path for error in found]


@pytest.mark.parametrize("section", SECTIONS)
def test_an_absent_section_breaks_the_schema(section: str) -> None:
    document = nan_report().to_dict()
    del document[section]
    assert errors_of(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("verdict", "status"), "fine"),
        (("verdict", "cause"), "bad_luck"),
        (("verdict", "grade"), "certain"),
        (("verdict", "confidence"), 1.2),
        (("verdict", "first_bad_step_interval"), [1]),
        (("findings", 0, "severity"), "fatal"),
        (("findings", 0, "evidence", 0, "type"), "rumour"),
        (("findings", 0, "evidence", 0, "measured"), "nan"),
        (("inputs", 0, "state"), "lost"),
        (("replay", "status"), "maybe"),
        (("replay", "origin", "phase"), "evening"),
        (("replay", "trials", 0, "status"), "hoped"),
        (("checkpoints", 0, "status"), "nice"),
        (("series", 0, "steps", 0), 0.5),
        (("run", "n_points"), None),
        (("schema_version",), "2.0"),
    ],
)
def test_a_wrong_value_breaks_the_schema(path: tuple[str | int, ...], value: object) -> None:
    document = copy.deepcopy(nan_report().to_dict())
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert errors_of(document)


def test_third_parties_may_bring_causes_and_keys_of_their_own() -> None:
    document = copy.deepcopy(nan_report().to_dict())
    document["verdict"]["cause"] = document["diagnoses"][0]["cause"] = "x-cosmic-rays"
    document["verdict"]["x-note"] = document["x-section"] = {"anything": [1]}
    assert errors_of(document) == []
    assert read_document(Report.from_dict(document))["verdict"]["cause"] == "x-cosmic-rays"


def test_numbers_are_decoded_and_unknown_keys_dropped() -> None:
    document = nan_report().to_dict()
    document["tool"] = document["tool"] | {"later": 1}
    read = read_document(Report(document))
    assert str(read["findings"][0]["evidence"][0]["measured"]) == "nan"
    assert read["tool"] == {"name": "tf-forensics", "version": "0.1.0"}
    assert document["findings"][0]["evidence"][0]["measured"] == "NaN", "the report was changed"


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("verdict",), None, "verdict: expected an object, not null"),
        (("verdict", "headline"), 3, "verdict.headline: expected text, not a number"),
        (("series",), {}, "series: expected an array, not an object"),
        (("series", 0, "steps"), [True], r"series\[0\].steps\[0\]: expected an integer"),
        (("series", 0, "steps"), [2**70], r"series\[0\].steps\[0\]: expected an integer"),
        (("series", 0, "values"), [10**400], r"series\[0\].values\[0\]: expected a number"),
        (("series", 0, "values"), ["12"], r"series\[0\].values\[0\]: expected a number"),
        (("series", 0, "steps"), [1], r"series\[0\]: steps and values differ in length"),
        (("findings", 0, "evidence"), ["x"], r"evidence\[0\]: expected an object with a type"),
        (("limits", "values"), {"A": 1}, "limits.values.A: expected an object"),
        (("replay", "collective"), "no", "replay.collective: expected a boolean, not text"),
    ],
)
def test_another_shape_is_refused_by_name(
    path: tuple[str | int, ...], value: object, complaint: str
) -> None:
    document = copy.deepcopy(nan_report().to_dict())
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ReportUnreadable, match=complaint):
        read_document(Report(document))
