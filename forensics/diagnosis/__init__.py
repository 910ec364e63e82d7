"""From findings to causes: clues are collected, weighed against the catalogue, and worded."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from forensics.diagnosis.catalogue import CATALOGUE, STRONG
from forensics.diagnosis.clues import SHAPES, Clue, Sign, unique
from forensics.diagnosis.mechanisms import is_understood, replay_clues
from forensics.diagnosis.remedies import remedies
from forensics.diagnosis.signs import curve_clues, finding_clues
from forensics.diagnosis.variants import belonging
from forensics.diagnosis.weigh import CEILING, Weighed, weigh
from forensics.domain.diagnosis import Cause, Diagnosis, Grade
from forensics.domain.findings import Finding, Severity
from forensics.domain.quantity import Quantity
from forensics.domain.replay import ReplayResult, ReplayStatus, TrialStatus
from forensics.domain.scene import Scene

__all__ = ["diagnose"]


def diagnose(scene: Scene, findings: Sequence[Finding]) -> tuple[Diagnosis, ...]:
    """Name the causes, most likely first.

    Parameters
    ----------
    scene : Scene
        The run, and the replay's answer once there is one (it outranks the logs).
    findings : sequence of Finding
        What the detectors said of the same scene.

    Returns
    -------
    tuple of Diagnosis
        Never empty: `healthy` when no finding is a warning or an error, `unknown` first when no
        cause reaches the floor of confidence.
    """
    if not any(f.severity is not Severity.INFO for f in findings):
        return (_healthy(scene),)
    ranked = weigh(_clues(scene, findings))
    return tuple(
        _worded(one, ranked[k + 1] if k + 1 < len(ranked) else None, scene, findings)
        for k, one in enumerate(ranked)
    )


def _clues(scene: Scene, findings: Sequence[Finding]) -> tuple[Clue, ...]:
    """Everything that speaks; once the first bad op is known, the shape of the curve is silent."""
    found = chain(
        replay_clues(scene, findings), finding_clues(scene, findings), curve_clues(scene, findings)
    )
    origin = scene.replay.origin if scene.replay is not None else None
    known = origin is not None and is_understood(origin)
    clues = unique(c for c in found if not (known and c.sign in SHAPES))
    if any(c.sign is Sign.JUMPED_GRADIENTS for c in clues):
        # One jump out of calm is the whole rise of the loss, which then is no slow divergence.
        return tuple(c for c in clues if c.sign not in (Sign.DIVERGED, Sign.ROSE))
    return clues


def _worded(
    one: Weighed, rival: Weighed | None, scene: Scene, findings: Sequence[Finding]
) -> Diagnosis:
    entry = CATALOGUE[one.cause]
    supporting = _codes(one.supporting)
    if one.cause is Cause.UNKNOWN:
        # Whatever is wrong is what remains to be explained.
        wrong = (f.code for f in findings if f.severity is not Severity.INFO)
        supporting = tuple(dict.fromkeys(wrong))
    grade = _grade(one, supporting, scene.replay)
    return Diagnosis(
        cause=one.cause,
        confidence=one.confidence,
        grade=grade,
        summary=_summary(entry.meaning, one.supporting, grade),
        supporting=supporting,
        contradicting=_codes(one.contradicting),
        remedies=remedies(entry.remedies, scene.replay),
        next_check=_next_check(one, rival),
    )


def _codes(clues: Sequence[Clue]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(code for clue in clues for code in clue.codes))


def _summary(meaning: str, supporting: Sequence[Clue], grade: Grade) -> str:
    seen = "; ".join(clue.text for clue in supporting[:3])
    head = meaning[:1].upper() + meaning[1:]
    if seen and grade is Grade.INFERRED:
        return f"{head}. Inferred, not observed; what speaks for it: {seen}."
    return f"{head}. Seen: {seen}." if seen else f"{head}."


def _next_check(one: Weighed, rival: Weighed | None) -> str | None:
    """Return what tells this cause from the next one."""
    own = CATALOGUE[one.cause].decide
    if rival is None or rival.cause is Cause.UNKNOWN:
        return own or None
    other = rival.cause.value.replace("_", " ")
    return f"Against {other}: {own}; {CATALOGUE[rival.cause].decide}."


def _grade(one: Weighed, codes: Sequence[str], replay: ReplayResult | None) -> Grade:
    """How the cause, not the failure, is known: the best that holds."""
    if one.cause is Cause.UNKNOWN:
        return _witnessed(codes)
    reproduced = replay is not None and replay.status is ReplayStatus.REPRODUCED
    if replay is not None:
        own = belonging(CATALOGUE[one.cause].remedies)
        fixed = {t.remedy for t in replay.trials if t.status is TrialStatus.FIXED}
        if fixed & set(own):
            return Grade.FIX_VERIFIED
    if reproduced:
        return Grade.REPRODUCED if _beyond_shapes(one) else Grade.INFERRED
    weights = CATALOGUE[one.cause].weights
    shown = [c for c in one.supporting if c.sign not in SHAPES and weights[c.sign] >= STRONG]
    return _witnessed(_codes(shown)) if shown else Grade.INFERRED


def _beyond_shapes(one: Weighed) -> bool:
    """Whether more than the look of the curves supports a cause."""
    return any(c.sign not in SHAPES for c in one.supporting)


def _witnessed(codes: Sequence[str]) -> Grade:
    """Return where the findings of these codes were seen."""
    if "NUM002" in codes:
        return Grade.OBSERVED_IN_CHECKPOINT
    return Grade.OBSERVED_IN_LOGS if codes else Grade.INFERRED


def _healthy(scene: Scene) -> Diagnosis:
    run, replay = scene.run, scene.replay
    looked = []
    if run.train_loss is not None:
        looked.append(f"{len(run.train_loss)} points of the loss `{run.train_loss.tag}`")
    if run.of(Quantity.GRADIENT_NORM):
        looked.append("gradient norms")
    if run.checkpoint_stats:
        looked.append(f"{len(run.checkpoint_stats)} checkpoints")
    if replay is not None and replay.observation is not None:
        looked.append(f"step {replay.observation.step}, run again")
    checked = ", ".join(looked) or "nothing that could show a failure"
    # Each kind of evidence that was looked at leaves less room for what went unseen.
    confidence = min(round(0.5 + 0.12 * len(looked), 2), CEILING) if looked else 0.1
    return Diagnosis(
        cause=Cause.HEALTHY,
        confidence=confidence,
        grade=Grade.OBSERVED_IN_LOGS if run.train_loss is not None else Grade.INFERRED,
        summary=f"Nothing wrong found. Checked: {checked}.",
        supporting=(),
        contradicting=(),
        remedies=(),
        next_check=None,
    )
