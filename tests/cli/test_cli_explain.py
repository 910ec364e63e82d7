"""`forensics explain`: every code and every cause has something to say."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from forensics.cli.main import main
from forensics.detectors.registry import DETECTORS
from forensics.domain.diagnosis import Cause


def explained(*words: str) -> str:
    result = CliRunner().invoke(main, ["explain", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.code)
def test_every_code_is_explained_from_its_own_file(detector: object) -> None:
    code, name = str(getattr(detector, "code", "")), str(getattr(detector, "name", ""))
    text = explained(code)
    assert name in text
    assert "Why it is bad" in text
    assert "Limits in force" in text
    assert explained(code.lower()) == text
    assert text in explained(name)


@pytest.mark.parametrize("cause", list(Cause), ids=lambda c: c.value)
def test_every_cause_is_explained(cause: Cause) -> None:
    text = explained(cause.value)
    assert text.startswith(cause.value)
    assert len(text.splitlines()) >= 3
    assert explained(cause.value.replace("_", "-")) == text


def test_causes_show_what_helps() -> None:
    text = explained("learning_rate_too_high")
    assert "Speaks for it" in text
    assert "Remedy: learning rate div 10" in text


def test_without_a_word_everything_is_listed() -> None:
    text = explained()
    assert all(str(getattr(d, "code", "")) in text for d in DETECTORS)
    assert all(cause.value in text for cause in Cause)


def test_an_unknown_word_is_wrong_usage() -> None:
    result = CliRunner().invoke(main, ["explain", "NUM999"])
    assert result.exit_code == 2
    assert "NUM999" in result.stderr
    assert result.stdout == ""
