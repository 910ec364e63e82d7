"""Checkpoints by themselves: one, the way from one to another, or a series of them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

from forensics import __version__
from forensics.domain.checkpoint import (
    CHECKPOINT_SCHEMA_VERSION,
    ChangeKind,
    CheckpointDifference,
    CheckpointSeries,
    TensorChange,
)
from forensics.domain.report import encode
from forensics.domain.run import (
    CheckpointStats,
    CheckpointStatus,
    InputFile,
    ReadWarning,
    TensorKind,
    TensorStats,
)
from forensics.errors import NothingToAnalyze, UsageError
from forensics.sources.checkpoints.named import Named, named_checkpoints

Progress = Callable[[str], None]
Path = str | os.PathLike[str]


def examine_checkpoints(
    a: Path, b: Path | None = None, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Examine a checkpoint, the difference from one to another, or all of a folder.

    Parameters
    ----------
    a : str or path-like
        A checkpoint: a file, the prefix of a tensor bundle, a folder that is one, or a folder that
        holds a series. A URL of a remote one is read through fsspec.
    b : str or path-like, optional
        A later checkpoint, to be compared with `a` tensor by tensor.
    progress : callable, optional
        Takes one line at a time.

    Returns
    -------
    dict
        Strict JSON, the object of ``docs/checkpoint.schema.json``. Broken input is a record in it.

    Raises
    ------
    NothingToAnalyze
        There is no such checkpoint.
    UsageError
        A path that must be one checkpoint names several, or a URL cannot be read.
    """
    tell = progress or _silent
    if b is not None:
        return _difference(_one(a), _one(b), tell)
    named = named_checkpoints(a)
    if named.folder and len(named.claims) > 1:
        return _series(named, tell)
    return _single(named, tell)


def _one(path: Path) -> Named:
    named = named_checkpoints(path)
    if len(named.claims) == 1:
        return named
    names = [claim.name for _, claim in named.claims]
    listed = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    raise UsageError(f"{os.fspath(path)}: {len(names)} checkpoints ({listed}): name one of them")


def _single(named: Named, tell: Progress) -> dict[str, Any]:
    from forensics.sources.checkpoints.scan import read_claimed

    name = named.claims[0][1].name
    tell(f"reading {name}")
    scan = read_claimed(named.place, named.claims, [])
    if not scan.checkpoints:
        why = scan.warnings[0].detail if scan.warnings else "this is no checkpoint"
        raise NothingToAnalyze(f"{named.place.label}/{name}: {why}")
    return _document(scan.checkpoints, scan.inputs, scan.warnings)


def _series(named: Named, tell: Progress) -> dict[str, Any]:
    from forensics.sources.checkpoints.series import first_poisoned

    tell(f"reading {len(named.claims)} checkpoints")
    series: CheckpointSeries = first_poisoned(named.place, named.claims)
    first = {
        "path": series.first_poisoned,
        "last_clean": series.last_clean,
        "method": series.method.value,
        "n_read": len(series.checkpoints),
        "n_listed": len(series.listed),
    }
    return _document(series.checkpoints, series.inputs, series.warnings, first_poisoned=first)


def _difference(a: Named, b: Named, tell: Progress) -> dict[str, Any]:
    from forensics.sources.checkpoints.difference import compare

    tell(f"comparing {a.claims[0][1].name} with {b.claims[0][1].name}")
    found: CheckpointDifference = compare(a.place, a.claims[0], b.place, b.claims[0])
    known = found.a.step is not None and found.b.step is not None
    difference = {
        "a": found.a.path,
        "b": found.b.path,
        "steps": found.b.step - found.a.step if known else None,  # type: ignore[operator]
        "n_unchanged": sum(t.change is ChangeKind.UNCHANGED for t in found.tensors),
        "complete": all(t.change is not ChangeKind.UNREADABLE for t in found.tensors),
        "tensors": [_change(t) for t in found.tensors],
    }
    return _document((found.a, found.b), found.inputs, found.warnings, difference=difference)


def _document(
    checkpoints: Sequence[CheckpointStats],
    inputs: Sequence[InputFile],
    warnings: Sequence[ReadWarning],
    *,
    first_poisoned: dict[str, Any] | None = None,
    difference: dict[str, Any] | None = None,
) -> dict[str, Any]:
    whole = first_poisoned is None
    return {
        "schema_version": CHECKPOINT_SCHEMA_VERSION,
        "tool": {"name": "forensics", "version": __version__},
        "checkpoints": [_checkpoint(c, whole) for c in checkpoints],
        "first_poisoned": first_poisoned,
        "difference": difference,
        "inputs": encode(tuple(inputs)),
        "warnings": encode(tuple(warnings)),
    }


def _checkpoint(found: CheckpointStats, whole: bool) -> dict[str, Any]:
    kept = found.tensors if whole else found.bad_tensors
    return {
        "path": found.path,
        "format": found.format.value,
        "step": found.step,
        "step_source": encode(found.step_source),
        "status": found.status.value,
        "verifiable": found.verifiable,
        "config": encode(found.config),
        "n_tensors": len(found.tensors),
        "n_elements": sum(t.count for t in found.tensors),
        "weight_norm": encode(_weight_norm(found.tensors)),
        "tensors": [encode(t) for t in kept],
    }


def _weight_norm(tensors: Sequence[TensorStats]) -> float | None:
    """L2 norm over all weights; None where there are none, Inf beyond the range of float64."""
    norms = [
        t.l2_norm for t in tensors if t.kind is TensorKind.WEIGHT and not math.isnan(t.l2_norm)
    ]
    return math.hypot(*norms) if norms else None


def _change(change: TensorChange) -> dict[str, Any]:
    fields: dict[str, Any] = encode(change)
    return fields


def worst_status(document: dict[str, Any]) -> CheckpointStatus:
    """Return the worst state of all checkpoints: poisoned before damaged before clean.

    A damaged checkpoint may be poisoned too, by what could be read of it.
    """
    found = {c["status"] for c in document["checkpoints"]}
    kinds = {t["kind"] for c in document["checkpoints"] for t in c["tensors"] if _is_bad(t)}
    if CheckpointStatus.POISONED.value in found or kinds - {TensorKind.METRIC.value}:
        return CheckpointStatus.POISONED
    damaged = CheckpointStatus.DAMAGED.value in found
    return CheckpointStatus.DAMAGED if damaged else CheckpointStatus.CLEAN


def _is_bad(tensor: dict[str, Any]) -> bool:
    return bool(tensor["nan"] or tensor["pos_inf"] or tensor["neg_inf"])


def _silent(_: str) -> None:
    """Progress that nobody reads."""
