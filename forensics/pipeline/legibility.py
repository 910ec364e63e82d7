"""What is said of a run of which nothing could be read, or nothing that could show a failure."""

from __future__ import annotations

from forensics.detectors.curves import is_loss
from forensics.diagnosis.catalogue import CATALOGUE
from forensics.diagnosis.remedies import remedies
from forensics.domain.diagnosis import Cause, Diagnosis, Grade
from forensics.domain.quantity import Quantity
from forensics.domain.run import CheckpointStatus, InputFile, InputState, Run
from forensics.domain.scene import Scene
from forensics.errors import NothingToAnalyze
from forensics.sources.events.event_file import KIND, read_event_file
from forensics.sources.storage.locate import place_at

_TELLING = (Quantity.VALIDATION_LOSS, Quantity.GRADIENT_NORM)
_NO_EVENT = frozenset({"file_version", "source_metadata"})
"""What a writer puts into a file before anything is logged."""
_NO_DAMAGE = frozenset(
    {"denied", "limit", "undated", "translated", "not_read", "not_used", "not_verified"}
)
"""Kinds of warnings about what was not looked at, or not placed, and may be whole."""


def legible(run: Run) -> bool:
    """Whether a scalar or a checkpoint could be read."""
    return _has_checkpoint(run) or any(len(s) for s in run.series)


def telling(scene: Scene) -> bool:
    """Whether a failure could have been seen: in a loss, gradient norm, checkpoint or step."""
    shown = any(len(s) and (is_loss(s) or s.quantity in _TELLING) for s in scene.run.series)
    return shown or _has_checkpoint(scene.run) or scene.observation is not None


def damaged(run: Run) -> bool:
    """Whether something that the files once held is lost."""
    return (
        any(i.state is InputState.DAMAGED for i in run.inputs)
        or any(c.status is CheckpointStatus.DAMAGED for c in run.checkpoint_stats)
        or any(w.kind not in _NO_DAMAGE for w in run.warnings)
    )


def refuse_without_events(run: Run) -> None:
    """Refuse a run whose event files are whole and hold nothing that was logged.

    Raises
    ------
    NothingToAnalyze
        When there is no event, no checkpoint and no recording, and none was lost.
    """
    if legible(run) or run.recordings or run.warnings:
        return
    if not run.inputs or any(_may_hold_events(run, i) for i in run.inputs):
        return
    names = ", ".join(i.path for i in run.inputs[:3]) + (", ..." if len(run.inputs) > 3 else "")
    raise NothingToAnalyze(f"{run.root}: nothing was logged, there is no event in {names}")


def corrupt_evidence(run: Run) -> Diagnosis:
    """Return the diagnosis of an illegible run: the files, not the training."""
    entry = CATALOGUE[Cause.CORRUPT_EVIDENCE]
    where = sorted({w.path for w in run.warnings})
    seen = f": {', '.join(where[:3])}{', ...' if len(where) > 3 else ''}" if where else ""
    return Diagnosis(
        cause=Cause.CORRUPT_EVIDENCE,
        confidence=1.0,
        grade=Grade.OBSERVED_IN_LOGS,
        summary=f"{entry.meaning[:1].upper()}{entry.meaning[1:]}{seen}.",
        supporting=(),
        contradicting=(),
        remedies=remedies(entry.remedies, None),
        next_check=entry.decide or None,
    )


def no_evidence(run: Run) -> Diagnosis:
    """Return the diagnosis of a run that recorded nothing in which a failure would show."""
    what = without_evidence(run)
    return Diagnosis(
        cause=Cause.UNKNOWN,
        confidence=0.0,
        grade=Grade.INFERRED,
        summary=f"Whether training went wrong cannot be told. {what}.",
        supporting=(),
        contradicting=(),
        remedies=remedies(("record",), None),
        next_check="log the loss of every step, and save checkpoints",
    )


def without_evidence(run: Run) -> str:
    """Say what there is instead of evidence, e.g. for a headline; no full stop."""
    tags = list(dict.fromkeys(s.tag for s in run.series if len(s)))
    if not tags:
        return "No scalar was logged and no checkpoint was saved"
    listed = ", ".join(f"`{t}`" for t in tags[:3]) + (", ..." if len(tags) > 3 else "")
    return f"Nothing that could show a failure was recorded: only {listed}"


def _has_checkpoint(run: Run) -> bool:
    return any(c.status is not CheckpointStatus.DAMAGED for c in run.checkpoint_stats)


def _may_hold_events(run: Run, file: InputFile) -> bool:
    """Whether a file holds, or may have held, more than the header of its writer.

    A `Run` keeps scalars only, so that the file is read again; this happens when it has none.
    """
    if file.kind != KIND or file.state not in (InputState.COMPLETE, InputState.LIVE):
        return True
    return bool(set(read_event_file(place_at(run.root), file.path).other) - _NO_EVENT)
