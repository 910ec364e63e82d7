"""What every detector is, and what it shows of itself: examples to report and to stay silent on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from forensics.domain.findings import Finding, NotChecked, Severity
from forensics.domain.scene import Scene

REPLAY_LINE = "forensics analyze LOGDIR --replay train.py:replay_case"
TRUST_LINE = "forensics analyze LOGDIR --trust"
LOSS_LINE = 'tf.summary.scalar("train/loss", loss, step=step)'
GRADIENT_LINE = (
    'tf.summary.scalar("train/gradient_norm", tf.linalg.global_norm(gradients), step=step)'
)
LAYER_GRADIENT_LINE = (
    'tf.summary.scalar(f"gradient_norm/{variable.path}", tf.norm(gradient), step=step)'
)
LEARNING_RATE_LINE = 'tf.summary.scalar("train/learning_rate", optimizer.learning_rate, step=step)'
CHECKPOINT_LINE = (
    "tf.train.CheckpointManager(tf.train.Checkpoint(model=model, optimizer=optimizer), "
    "LOGDIR, max_to_keep=5).save(checkpoint_number=step)"
)
CONFIG_LINE = 'model.save(f"{LOGDIR}/model.keras")'


@dataclass(frozen=True, slots=True)
class Example:
    """A small scene and what the detector must say about it.

    Parameters
    ----------
    name : str
        What is shown, as a phrase.
    scene : Scene
        Made by hand, seconds to understand.
    onset : int or None
        Step at which the first finding must start; None with ``severity`` None: no finding at all.
    severity : Severity or None
        Of the first finding; None: the detector must stay silent.
    """

    name: str
    scene: Scene
    onset: int | None = None
    severity: Severity | None = None


class Detector(Protocol):
    """One pathology. A frozen dataclass whose fields are its thresholds.

    Attributes
    ----------
    code : str
        Family and number, e.g. ``GRD001``.
    name : str
        The defect, so that it reads after "allow ...".
    requires : tuple of str
        Quantities and things looked at; what is missing becomes a ``NotChecked``.
    needs_replay : bool
        True when nothing can be said before the failing step was run again.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]]
    needs_replay: ClassVar[bool]

    def detect(self, scene: Scene) -> Iterator[Finding | NotChecked]:
        """Look, without changing anything."""
        ...

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """At least one scene that must be reported and one that must not."""
        ...


def not_observed(code: str, scene: Scene, what: str) -> NotChecked:
    """Return the answer of a detector whose replayed step is missing, with the replay's reason."""
    if scene.replay is None:
        return not_replayed(code, scene, f"{what}: ")
    reason = f"{what}: {scene.replay.reason or scene.replay.status.value}"
    return NotChecked(code, reason, ("replay",), REPLAY_LINE)


def not_replayed(code: str, scene: Scene, what: str = "") -> NotChecked:
    """Return the answer of a detector that needs a replay where there was none, with the remedy.

    A recording in the log directory is replayed only if the caller trusts it.
    """
    reason = f"{what}the failing step was not run again"
    if not scene.run.recordings:
        return NotChecked(code, reason, ("replay",), REPLAY_LINE)
    reason += "; a recording of it is there, and is run only if you trust who made it"
    return NotChecked(code, reason, ("replay",), TRUST_LINE)
