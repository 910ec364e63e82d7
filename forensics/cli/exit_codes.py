"""Exit codes of the contract, and which of them a report deserves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forensics.domain.findings import Severity
from forensics.domain.replay import DEBUG_DUMP, ReplayStatus
from forensics.domain.report import Report
from forensics.domain.run import CheckpointStatus, InputState
from forensics.pipeline.assemble import NOT_ASKED

HEALTHY, FINDINGS, NOT_EXAMINED = 0, 1, 3

_NOT_EXAMINED = frozenset({InputState.DAMAGED, InputState.DENIED, InputState.LIMIT})
_NOT_LOOKED_AT = frozenset({InputState.DENIED, InputState.LIMIT})
"""Kinds of warnings about what never became an input, e.g. a directory without permission."""
_STATUS_AS_SEVERITY = {"failed": Severity.ERROR, "suspect": Severity.WARNING}


def exit_code(report: Report, fail_on: str) -> int:
    """Return 1 for findings at or above ``fail_on``, else 3 for what was not examined, else 0.

    Parameters
    ----------
    report : Report
        The finished report.
    fail_on : str
        ``error``, ``warning``, ``info`` or ``never``.
    """
    document = report.document
    if fail_on != "never" and any(s.rank <= Severity(fail_on).rank for s in _severities(report)):
        return FINDINGS
    unexamined = (
        document["verdict"]["status"] == "unreadable"
        or _was_refused(document["replay"])
        or any(i["state"] in _NOT_EXAMINED for i in document["inputs"])
        or any(c["status"] == CheckpointStatus.DAMAGED for c in document["checkpoints"])
        or any(w["kind"] in _NOT_LOOKED_AT for w in document["warnings"])
    )
    return NOT_EXAMINED if unexamined else HEALTHY


def _was_refused(replay: Mapping[str, Any]) -> bool:
    """Whether a replay was asked for and gave no answer."""
    asked = replay["reason"] != NOT_ASKED and replay.get("source") != DEBUG_DUMP
    return asked and replay["status"] in (ReplayStatus.NOT_RUN, ReplayStatus.CRASHED)


def _severities(report: Report) -> list[Severity]:
    """Severities of the findings, and that of the verdict: a reproduced failure is an error."""
    found = [Severity(f["severity"]) for f in report.document["findings"]]
    status = _STATUS_AS_SEVERITY.get(report.verdict["status"])
    return [*found, status] if status is not None else found
