"""The verdict in words: what every format says first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forensics.report.numbers import confidence, count_of, interval, rows, step
from forensics.report.words import (
    BLAME,
    CAUSE,
    GRADE,
    PHASE,
    REPLAY,
    STATUS,
    STATUS_MEANING,
    STATUS_SIGN,
    plain,
    sentence,
)

Section = Mapping[str, Any]

DUMP = "debug_dump"
"""Source of an answer for which nothing was run."""

LIKELY = 0.5
"""Confidence from which a cause is called likely; below it is a possible one."""


@dataclass(frozen=True, slots=True)
class Fix:
    """The remedy to try first; ``verified``: a replay with it survived."""

    verified: bool
    name: str
    why: str
    snippet: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Where to go on from; ``path`` None: from the beginning."""

    path: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class VerdictView:
    """The verdict section, each slug as words; None where there is nothing to say."""

    status: str
    word: str
    sign: str
    meaning: str
    headline: str
    cause: str | None
    likely: bool
    cause_meaning: str | None
    confidence: str | None
    grade: str | None
    when: str | None
    fix: Fix | None
    resume: Resume | None


def view_verdict(document: Section) -> VerdictView:
    """Put the verdict of a checked document into words."""
    verdict = document["verdict"]
    status, cause = verdict["status"], verdict["cause"]
    ill = status in ("failed", "suspect")
    named = cause is not None and cause != "healthy"
    return VerdictView(
        status=status,
        word=STATUS.get(status, "Unknown"),
        sign=STATUS_SIGN.get(status, "?"),
        meaning=STATUS_MEANING.get(status, ""),
        headline=verdict["headline"].strip().removesuffix("."),
        cause=plain(cause) if named else None,
        likely=(verdict["confidence"] or 0) >= LIKELY,
        cause_meaning=CAUSE.get(cause) if named else None,
        confidence=confidence(verdict["confidence"]) if _known(verdict, "confidence") else None,
        grade=grade_words(verdict["grade"]) if _known(verdict, "grade") else None,
        when=_when(verdict),
        fix=_fix(document["diagnoses"]) if ill else None,
        resume=_resume(document) if status == "failed" else None,
    )


def grade_words(grade: str) -> str:
    """Return how a claim is known."""
    return GRADE.get(grade, plain(grade))


def _known(verdict: Section, key: str) -> bool:
    return verdict[key] is not None and verdict["cause"] not in (None, "unknown", "healthy")


def _when(verdict: Section) -> str | None:
    first, bounds = verdict["first_bad_step"], verdict["first_bad_step_interval"]
    noun = "epoch" if verdict["step_axis"] == "epoch" else "step"
    between = bounds is not None and bounds[0] != bounds[1]
    if first is None:
        return f"between {noun}s {interval(bounds)}" if bounds is not None else None
    return f"{noun} {step(first)}" + (f" (between {interval(bounds)})" if between else "")


def _fix(diagnoses: Sequence[Section]) -> Fix | None:
    remedies = diagnoses[0]["remedies"] if diagnoses else []
    best = min(remedies, key=lambda r: _TRIALS.get(r["trial"], 1), default=None)
    if best is None:
        return None
    verified = best["trial"] == "fixed"
    return Fix(verified, plain(best["remedy"]), best["why"], best["snippet"])


# A remedy that a trial has refuted is proposed last.
_TRIALS = {"fixed": 0, None: 1, "delayed": 2, "not_applicable": 3, "still_fails": 4}


def _resume(document: Section) -> Resume | None:
    path = document["last_checkpoint_before_onset"]
    if path is not None:
        told = [_stands(document, path), _replayed(document, path)]
        return Resume(path, " ".join(t for t in told if t))
    if not document["checkpoints"]:
        return Resume(None, "No checkpoint was found: start again from the beginning.")
    finite = document["last_finite_checkpoint"]
    detail = "No checkpoint from before the failure: start again from the beginning."
    if finite is not None:
        detail += f" ({finite} holds finite values only, but was saved after the onset.)"
    return Resume(None, detail)


def _stands(document: Section, path: str) -> str:
    saved = next((c for c in document["checkpoints"] if c["path"] == path), None)
    if saved is None or saved["step"] is None:
        return "Last checkpoint before the failure."
    first = document["verdict"]["first_bad_step"]
    batches = document["verdict"]["step_axis"] == "batch" and first is not None
    gap = _gap(first - saved["step"]) if batches else ""
    return f"Saved at step {step(saved['step'])}{gap}; {saved['status']}."


def _gap(steps: int) -> str:
    return (
        f", {count_of(steps, 'step')} before the failure"
        if steps > 0
        else ", just before the failing step"
    )


def _replayed(document: Section, path: str) -> str:
    replay = document["replay"]
    if replay["started_from"] != path:
        return "Not tried by a replay."
    fixed = [t for t in replay["trials"] if t["status"] == "fixed"]
    if fixed:
        survived = fixed[0]["steps_survived"]
        long = f" for {count_of(survived, 'step')}" if survived is not None else ""
        return f"Replayed from it, the run survives{long} with: {plain(fixed[0]['remedy'])}."
    if replay["status"] == "reproduced":
        return "Replayed from it without a change, the run fails again."
    return "Replayed from it, the run did not fail." if replay["status"] == "not_reproduced" else ""


def replay_text(replay: Section) -> str:
    """Return how the replay ended and why.

    The reason stands alone where there was no replay, and where nothing was met: it says whether
    there was a failure to meet at all.
    """
    reason = sentence(replay["reason"] or "")
    if replay["source"] == DUMP:
        return f"Read from a debug dump of the run; nothing was run again. {reason}".strip()
    if replay["status"] in ("not_run", "not_reproduced") and reason:
        return reason
    return f"{REPLAY.get(replay['status'], plain(replay['status']))} {reason}".strip()


def named_where(replay: Section) -> str:
    """Return where the first bad op was seen: replay of step 108, debug dump of step 3."""
    what = "debug dump" if replay["source"] == DUMP else "replay"
    if replay["step"] is None:
        return f"{what} of the run"
    return f"{what} of step {step(replay['step'])}"


@dataclass(frozen=True, slots=True)
class Missing:
    """Checks that could not be made for one and the same reason."""

    codes: tuple[str, ...]
    reason: str
    needs: tuple[str, ...]
    how_to_record: str | None


def missing(document: Section) -> tuple[Missing, ...]:
    """Return what could not be checked, one entry a reason, those with most checks first."""
    groups: dict[tuple[str, tuple[str, ...], str | None], list[str]] = {}
    for item in document["not_checked"]:
        key = (item["reason"], tuple(item["needs"]), item["how_to_record"])
        groups.setdefault(key, []).append(item["code"])
    ranked = sorted(groups.items(), key=lambda group: -len(group[1]))
    return tuple(Missing(tuple(codes), *key) for key, codes in ranked)


def origin_title(origin: Section) -> str:
    """Return the first bad op in a few words: Log in layer bad_log, in the forward pass."""
    if origin["op_type"] is None:
        name = origin["input"]["name"] if origin["input"] else "the batch"
        return f"no op: the input {name} was bad already"
    twin = origin["forward_op_type"]
    of = f" (gradient of {twin})" if twin else ""
    layer = f" in layer {origin['layer']}," if origin["layer"] else ""
    return f"{origin['op_type']}{of}{layer} in {PHASE.get(origin['phase'], origin['phase'])}"


def source_place(origin: Section) -> str | None:
    """Return the user's line as ``file:line``, None when it is not known."""
    source = origin["source"]
    return f"{source['file']}:{source['line']}" if source else None


def bad_rows(replay: Section) -> list[int]:
    """Return all guilty rows of the batch, else those of the smallest batch that fails."""
    guilty: list[int] = replay["samples"] or replay["minimal_batch"] or []
    return guilty


def rows_text(replay: Section) -> str:
    """Return which rows are guilty, and whether each alone or only together."""
    guilty, groups = bad_rows(replay), replay["culprits"] or []
    smallest = replay["minimal_batch"] or []
    said = []
    if guilty:
        noun = "Row" if len(guilty) == 1 else "Rows"
        said.append(f"{noun} {rows(guilty)} of the batch of step {step(replay['step'])}.")
    if len(groups) > 1:
        said.append(f"{len(groups)} independent culprits: each of them alone makes the step fail.")
    elif smallest and len(smallest) == len(guilty):
        alone = "It alone makes" if len(smallest) == 1 else "They make"
        said.append(f"{alone} the step fail.")
    elif smallest:
        said.append(f"A batch of {count_of(len(smallest), 'row')} of it still fails.")
    if replay["collective"]:
        said.append("The failure is collective: no smaller set of rows fails alone.")
    return " ".join(said)


def blame_words(blame: Section) -> str:
    """Return whose bug it is and why."""
    word = BLAME.get(blame["verdict"], plain(blame["verdict"]))
    return f"{word} {sentence(blame['reason'])}"


def scan_text(scan: Section) -> str:
    """Return what a scan went over and what it found."""
    bad = sum(b["non_finite"] for b in scan["ranked"])
    start = scan["started_from"] or "the state that the program builds"
    text = f"{count_of(scan['batches'], 'batch', 'batches')} from {start}, without updates"
    text += "" if scan["complete"] else "; the time ended before the data"
    text += f". {bad} of the worst are not finite." if bad else ". Every one of them is finite."
    if scan["reruns"]:
        text += f" Shuffled and with updates, {scan['reproduced']} of {scan['reruns']} passes fail."
    return text


def first_line(text: str) -> str:
    """Return the first line with something in it."""
    return next((line.strip() for line in re.split(r"\r\n|\r|\n", text) if line.strip()), "")
