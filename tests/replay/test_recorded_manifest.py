"""A manifest is a file like any other: what it says may be of any type, or not what Keras knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forensics.replay.worker.case.entry import CaseError
from forensics.replay.worker.case.recorded import Recording

pytestmark = pytest.mark.tf


def recording(folder: Path, manifest: Any) -> Recording:
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    (folder / "manifest.json").write_text(text)
    return Recording(str(folder), [])


@pytest.mark.parametrize("value", [[], "text", 5, None])
@pytest.mark.parametrize("key", ["environment", "settings"])
def test_a_part_of_the_wrong_type_is_said(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(CaseError, match=f"manifest.json is not as .*: {key!r} is no object"):
        recording(tmp_path, {"model": "model.keras", key: value})


@pytest.mark.parametrize("text", ["[]", "5", "not json", "[" * 100_000])
def test_what_is_no_manifest_needs_the_program(tmp_path: Path, text: str) -> None:
    with pytest.raises(CaseError, match="needs an entry point"):
        recording(tmp_path, text).case()


@pytest.mark.parametrize("model", [5, [], "../model.keras", None])
def test_a_model_that_is_no_name_needs_the_program(tmp_path: Path, model: Any) -> None:
    with pytest.raises(CaseError, match="needs an entry point"):
        recording(tmp_path, {"model": model, "model_reason": {}}).case()


@pytest.mark.parametrize(
    "settings", [{"floatx": "float7"}, {"dtype_policy": "none"}, {"image_data_format": "x"}]
)
def test_a_setting_that_keras_does_not_know_is_said(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    made = recording(tmp_path, {"model": "model.keras", "settings": settings})
    with pytest.raises(CaseError, match="settings do not fit the Keras"):
        made.case()


def test_values_of_other_types_are_left_alone(tmp_path: Path) -> None:
    threads: list[Any]
    for threads in ([-1, 1 << 40], ["a", True], [1.5, None]):
        environment: dict[str, Any] = {"threads": threads, "tensorflow": [], "cpus": {}}
        made = recording(tmp_path, {"model": "model.keras", "environment": environment,
                                    "settings": {"floatx": 5}})  # fmt: skip
        with pytest.raises(CaseError):
            made.case()  # there is no such file
        assert any("recorded with tensorflow []" in said for said in made.differences())
