"""What the parent asks of the replay worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forensics.domain.run import Run

TRIAL_SECONDS = 35.0
"""What is known of a failure is told anyway, and people wait for the report."""

SYMPTOMS = ("non_finite", "diverged", "none")


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What the caller wants of a replay beside the failing step itself.

    Parameters
    ----------
    batch : Path or None
        ``.npz`` file with the batch, where a saved model is replayed without its program.
    trust : bool
        The caller lets a recording that was found in the log directory be replayed.
    scan : bool
        Go over all batches of the data set, in any order, for the guilty ones.
    trials : bool
        Try remedies, which takes about as long as all the rest.
    python : Path or None
        Interpreter that runs the worker; None: this one.
    reproducer : Path or None
        Folder that takes the reproducer; None: only its text is in the report.
    with_data : bool
        Let the reproducer hold the real operands where synthetic ones would do.
    memory : int or None
        Bytes that the replay may hold; None: 80 % of the machine's memory.
    """

    batch: Path | None = None
    trust: bool = False
    scan: bool = False
    trials: bool = True
    python: Path | None = None
    reproducer: Path | None = None
    with_data: bool = False
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """One replay.

    Parameters
    ----------
    run : Run
        The run as read; its clean checkpoints are what the replay may start from.
    entry : str
        What ``--replay`` names: ``FILE:function`` of the user's program (the function returns a
        ``ReplayCase``), a recording, a ``.keras`` file or a SavedModel.
    device : str
        ``auto``, ``cpu`` or ``gpu``.
    timeout : float
        Seconds of wall clock for the child process.
    failing_step : int or None
        Step, 0-based, at which the logs or checkpoints show the failure first.
    interval : tuple of int or None
        (lo, hi) inclusive: where the first bad step can be according to logs and checkpoints.
    symptom : str
        ``non_finite``, ``diverged`` (the loss passes `loss_limit`) or ``none`` (observe one step).
    loss_limit : float or None
        For ``diverged``: the loss above which the failure counts as reproduced.
    step_offset : int
        Batch index minus logged step: what is added to `failing_step`, to `interval` and to the
        steps of checkpoints.
    suspicions : tuple of str
        Codes of the findings that are no mere remarks: what makes a run suspect that stays finite.
    trial_seconds : float
        Seconds of wall clock for running remedies; 0: none is run.
    options : ReplayOptions
        What else is wanted.
    """

    run: Run
    entry: str
    device: str = "auto"
    timeout: float = 600.0
    failing_step: int | None = None
    interval: tuple[int, int] | None = None
    symptom: str = "none"
    loss_limit: float | None = None
    step_offset: int = 0
    suspicions: tuple[str, ...] = ()
    trial_seconds: float = TRIAL_SECONDS
    options: ReplayOptions = ReplayOptions()
