"""Every checkpoint of a place, as statistics; what cannot be read is a record of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forensics.domain.run import (
    CheckpointStats,
    CheckpointStatus,
    InputFile,
    ReadWarning,
    TensorKind,
)
from forensics.sources.checkpoints.checkpoint_format import (
    Claim,
    Format,
    NotACheckpoint,
    OpenCheckpoint,
    Unopened,
)
from forensics.sources.checkpoints.contents import Contents
from forensics.sources.checkpoints.pickles import pickles_among
from forensics.sources.checkpoints.recorded_state import states_in
from forensics.sources.checkpoints.registry import find_checkpoints, open_checkpoint
from forensics.sources.checkpoints.steps import step_of
from forensics.sources.checkpoints.summarise import summarise_all
from forensics.sources.storage.place import Place
from forensics.sources.storage.tree import Tree


@dataclass(frozen=True, slots=True)
class CheckpointScan:
    """Checkpoints ordered by step and path, the files they were read from, what went wrong."""

    checkpoints: tuple[CheckpointStats, ...]
    inputs: tuple[InputFile, ...]
    warnings: tuple[ReadWarning, ...]


def read_checkpoints(place: Place, tree: Tree | None = None) -> CheckpointScan:
    """Find and read all checkpoints of a place.

    Parameters
    ----------
    place : Place
        Where to look.
    tree : Tree, optional
        What lies there, where it was listed already: its warnings are not repeated.

    Returns
    -------
    CheckpointScan
        Of all formats in the registry. Bad input never raises: it becomes a damaged checkpoint, a
        warning and the state of an input.
    """
    told = tree is not None
    tree = tree or place.survey()
    warnings = [*(() if told else tree.warnings), *pickles_among(tree.files)]
    return read_claimed(place, list(find_checkpoints(tree.files, place)), warnings)


def read_recorded_states(place: Place) -> CheckpointScan:
    """Read the states of a recording that lies anywhere; paths are relative to its folder."""
    return read_claimed(place, list(states_in(place.survey().files)), [])


def read_claimed(
    place: Place, claims: Sequence[tuple[Format, Claim]], warnings: list[ReadWarning]
) -> CheckpointScan:
    """Read checkpoints that were found already; `warnings` are what was met on the way."""
    place.expect(file for _, claim in claims for file in claim.files)
    checkpoints: list[CheckpointStats] = []
    inputs: list[InputFile] = []
    for form, claim in claims:
        contents, found = _read(place, form, claim)
        inputs.extend(contents.inputs)
        warnings.extend(contents.warnings)
        checkpoints.extend(found)
    checkpoints.sort(key=lambda c: (c.step is None, c.step or 0, c.path))
    inputs.sort(key=lambda i: i.path)
    return CheckpointScan(tuple(checkpoints), tuple(inputs), tuple(warnings))


def _read(place: Place, form: Format, claim: Claim) -> tuple[Contents, list[CheckpointStats]]:
    """Read one checkpoint; nothing of what is none, no statistics of what cannot be opened."""
    try:
        with open_checkpoint(place, form, claim) as checkpoint:
            with checkpoint.hashed_beside():
                summarise_all(checkpoint)
            return checkpoint.contents, [conclude(checkpoint)]
    except NotACheckpoint:
        return Contents(), []
    except Unopened as error:
        contents = Contents()
        contents.refuse(error.name, error.kind, error.cause)
        return contents, []


def conclude(checkpoint: OpenCheckpoint) -> CheckpointStats:
    """Record the files of a checkpoint whose tensors were read, and judge it."""
    claim, contents = checkpoint.claim, checkpoint.contents
    checkpoint.record()
    contents.conclude(claim.name)
    step, source = step_of(claim.name, contents.counters)
    if contents.damaged:
        status = CheckpointStatus.DAMAGED
    elif any(t.bad and t.kind is not TensorKind.METRIC for t in contents.tensors):
        status = CheckpointStatus.POISONED
    else:
        status = CheckpointStatus.CLEAN
    return CheckpointStats(
        path=claim.name,
        format=claim.format,
        step=step,
        step_source=source,
        tensors=tuple(contents.tensors),
        status=status,
        config=contents.config,
        verifiable=contents.verifiable,
    )
