"""Exit codes of the contract, from the document alone."""

from __future__ import annotations

from typing import Any

import pytest

from forensics.cli.exit_codes import exit_code
from forensics.domain.report import Report
from forensics.pipeline.assemble import NOT_ASKED


def report(status: str = "healthy", *severities: str, **sections: Any) -> Report:
    document: dict[str, Any] = {
        "verdict": {"status": status},
        "findings": [{"severity": s} for s in severities],
        "inputs": [{"state": "complete"}],
        "checkpoints": [{"status": "clean"}],
        "warnings": [],
        "replay": {"status": "not_run", "reason": NOT_ASKED},
    }
    return Report(document | sections)


@pytest.mark.parametrize(
    ("severities", "fail_on", "code"),
    [
        ((), "info", 0),
        (("info",), "info", 1),
        (("info",), "warning", 0),
        (("warning", "info"), "warning", 1),
        (("warning",), "error", 0),
        (("info", "error"), "error", 1),
        (("error",), "never", 0),
    ],
)
def test_findings_at_or_above_the_chosen_severity(
    severities: tuple[str, ...], fail_on: str, code: int
) -> None:
    assert exit_code(report("healthy", *severities), fail_on) == code


def test_a_failure_that_only_the_replay_saw_is_an_error() -> None:
    assert exit_code(report("failed"), "error") == 1
    assert exit_code(report("suspect"), "error") == 0
    assert exit_code(report("suspect"), "warning") == 1


@pytest.mark.parametrize(
    "sections",
    [
        {"inputs": [{"state": "damaged"}]},
        {"inputs": [{"state": "denied"}]},
        {"inputs": [{"state": "limit"}]},
        {"checkpoints": [{"status": "damaged"}]},
        {"warnings": [{"kind": "denied"}]},
        {"replay": {"status": "not_run", "reason": "the program has no function"}},
        {"replay": {"status": "crashed", "reason": "the process ended without an answer"}},
    ],
)
def test_what_could_not_be_examined_is_3_unless_something_worse_was_found(
    sections: dict[str, Any],
) -> None:
    assert exit_code(report("healthy", **sections), "error") == 3
    assert exit_code(report("failed", "error", **sections), "error") == 1
    assert exit_code(report("failed", "error", **sections), "never") == 3


@pytest.mark.parametrize("state", ["incomplete_tail", "live"])
def test_a_tail_that_was_cut_or_still_grows_is_fine(state: str) -> None:
    assert exit_code(report("healthy", inputs=[{"state": state}]), "error") == 0


def test_an_unreadable_run_is_3() -> None:
    assert exit_code(report("unreadable"), "error") == 3
