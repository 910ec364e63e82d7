"""Stored reports say what today's code would say of the same run and the same replay."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from forensics.domain.replay import ReplayResult
from forensics.pipeline.analysis import analyze_run
from forensics.pipeline.assemble import NOT_ASKED
from forensics.replay.answer import read_answer
from forensics.sources.logdir import read

FIXTURES = Path(__file__).parents[2] / "fixtures"
STORED = sorted(FIXTURES.glob("*/*/report.json"))


def answer_of(document: Mapping[str, Any]) -> ReplayResult | None:
    """Rebuild the replay's answer; what the step looked like is not stored, its settings are."""
    replay = document["replay"]
    if replay["reason"] == NOT_ASKED:
        return None
    answer = read_answer({**replay, "config": document["config"]})
    assert answer.status.value == replay["status"], answer.reason
    return answer


def first_remedy(document: Mapping[str, Any]) -> str | None:
    remedies = document["diagnoses"][0]["remedies"]
    return remedies[0]["remedy"] if remedies else None


@pytest.mark.parametrize("path", STORED, ids=lambda p: p.parent.name)
def test_a_stored_report_is_not_stale(path: Path) -> None:
    stored = json.loads(path.read_text(encoding="utf-8"))
    answer = answer_of(stored)
    run = read(path.parent / path.parent.name)
    replay = None if answer is None else lambda _: answer
    today = analyze_run(run, lambda _: None, replay).document
    for key in ("status", "headline", "first_bad_step", "first_bad_step_interval", "cause"):
        assert today["verdict"][key] == stored["verdict"][key], key
    assert first_remedy(today) == first_remedy(stored)
    assert today["last_checkpoint_before_onset"] == stored["last_checkpoint_before_onset"]


def test_there_are_stored_reports_with_a_replay_that_met_the_failure() -> None:
    found = [json.loads(p.read_text(encoding="utf-8"))["replay"]["status"] for p in STORED]
    assert found.count("reproduced") >= 2
