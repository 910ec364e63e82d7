"""What the tests of every room share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: tests never assert times. In CI the same examples every time.
settings.register_profile("forensics", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("forensics")

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout that holds these tests."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium that starts; the test is skipped where there is none."""
    path = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(_BROWSERS)} is on the PATH")
    started = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
    if started.returncode != 0:
        pytest.skip(f"{path} does not start: {started.stderr.strip()}")
    return path


@pytest.fixture(scope="session")
def forensics_command() -> list[str]:
    """Arguments that start the command with the interpreter of the tests."""
    return [sys.executable, "-m", "forensics"]


@pytest.fixture(scope="session")
def schema_validator(repo_root: Path) -> Callable[[Mapping[str, object]], None]:
    """A function that fails the test when a report is not what ``docs/report.schema.json`` says."""
    from jsonschema import Draft202012Validator

    schema = json.loads((repo_root / "docs" / "report.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)

    def validate(report: Mapping[str, object]) -> None:
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(report)]
        if errors:
            pytest.fail("the report does not follow its schema:\n" + "\n".join(errors))

    return validate
