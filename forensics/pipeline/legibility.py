"""What is said of a run of which nothing could be read."""

from __future__ import annotations

from forensics.diagnosis.catalogue import CATALOGUE
from forensics.diagnosis.remedies import remedies
from forensics.domain.diagnosis import Cause, Diagnosis, Grade
from forensics.domain.run import CheckpointStatus, Run


def legible(run: Run) -> bool:
    """Whether a scalar or a checkpoint could be read."""
    whole = any(c.status is not CheckpointStatus.DAMAGED for c in run.checkpoints)
    return whole or any(len(s) for s in run.series)


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
