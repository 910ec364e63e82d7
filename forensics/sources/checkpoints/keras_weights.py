"""What the datasets of a Keras weights file are for, and what they say about the run.

Keras 3 stores the variables of each object under ``<path of the object>/vars/<index>``; those of an
optimizer begin with its iterations and, unless a schedule sets it, its learning rate. The older
format has ``model_weights`` and ``optimizer_weights`` with variables by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from forensics.domain.run import CheckpointFormat, TensorKind, TensorStats
from forensics.sources.checkpoints.checkpoint_format import (
    Claim,
    NotACheckpoint,
    OpenCheckpoint,
)
from forensics.sources.checkpoints.contents import Contents, single_float, single_integer
from forensics.sources.checkpoints.keras_config import legacy_settings
from forensics.sources.checkpoints.libhdf5 import H5Content, read_h5
from forensics.sources.checkpoints.optimizers import is_optimizer_name, optimizer_class
from forensics.sources.checkpoints.steps import Counters
from forensics.sources.checkpoints.tensor_names import kind_by_name
from forensics.sources.storage.blob import BlobFile
from forensics.sources.storage.place import Place

_LEGACY_OPTIMIZER = "optimizer_weights/"
_LEGACY_ITERATIONS = re.compile(r"(^|/)(iteration|iterations|iter)(:0)?$")
_SUFFIXES = (".h5", ".hdf5")
_WRAPPED = "inner_optimizer"
# Own variables of a LossScaleOptimizer: its four, then iterations and rate of the wrapped one.
_WRAPPER_COUNTERS, _COUNTERS = 6, 2
_KERAS_ROOTS = frozenset(
    {"model_weights", "layers", "_layer_checkpoint_dependencies", "optimizer", "vars"}
)


class WeightsFile:
    """HDF5 files: weights alone, or a model in the older format."""

    def find(self, names: Sequence[str], place: Place) -> Iterable[Claim]:
        """Claim every file that is named like one."""
        return [
            Claim(name, CheckpointFormat.WEIGHTS_H5, (name,))
            for name in names
            if name.lower().endswith(_SUFFIXES)
        ]

    def fill(self, checkpoint: OpenCheckpoint) -> None:
        """Read the datasets, unless they are no model's."""
        claim = checkpoint.claim
        blob = checkpoint.blob(claim.name, claim.format.value)
        whole = blob.whole
        content = read_h5(BlobFile(blob, 0, blob.size) if whole is None else whole, blob.name)
        if not (claim.name.lower().endswith(".weights.h5") or is_keras_weights(content)):
            raise NotACheckpoint(claim.name)
        add_weights(content, checkpoint.contents)


def is_keras_weights(content: H5Content) -> bool:
    """Whether an HDF5 file is a checkpoint of Keras, not somebody's data set."""
    return bool(content.root & _KERAS_ROOTS) or "layer_names" in content.attributes


def add_weights(content: H5Content, contents: Contents) -> None:
    """Judge the tensors of a file and add them, with the counters and settings that they hold."""
    by_name = {stats.name: stats for stats in content.tensors}
    groups = _optimizer_groups(by_name, content.group_names)
    contents.tensors.extend(
        replace(stats, kind=_kind(stats, by_name, groups)) for stats in content.tensors
    )
    for failure in content.failures:
        contents.fail(failure)
    working = [g for g in groups if f"{g}/{_WRAPPED}" not in groups]
    counts = [single_integer(by_name.get(f"{g}/vars/0")) for g in working]
    counts += [single_integer(by_name[name]) for name in _legacy_iterations(by_name)]
    contents.counters = Counters(iterations=min((c for c in counts if c is not None), default=None))
    if "model_config" in content.attributes or "training_config" in content.attributes:
        contents.config.update(legacy_settings(content.attributes))
    elif len(working) == 1:
        rate = by_name.get(f"{working[0]}/vars/1")
        found: dict[str, Any] = {
            "optimizer": optimizer_class(content.group_names.get(working[0])),
            "learning_rate": single_float(rate) if rate and rate.shape == () else None,
        }
        contents.config.update({k: v for k, v in found.items() if v is not None})


def _optimizer_groups(
    tensors: Mapping[str, TensorStats], names: Mapping[str, str]
) -> tuple[str, ...]:
    """Paths of optimizers: called so, or named like one and beginning with a counter."""
    found = []
    for group in {name.rpartition("/vars/")[0] for name in tensors if "/vars/" in name}:
        first = tensors.get(f"{group}/vars/0")
        counts = first is not None and first.shape == () and "int" in first.dtype
        called = "optimizer" in group.rpartition("/")[2].lower()
        if counts and (called or is_optimizer_name(names.get(group, ""))):
            found.append(group)
    return tuple(sorted(found))


def _kind(
    stats: TensorStats, tensors: Mapping[str, TensorStats], groups: tuple[str, ...]
) -> TensorKind:
    if stats.dtype in ("string", "opaque"):
        return TensorKind.OTHER
    group, _, index = stats.name.rpartition("/vars/")
    if group in groups and index.isdecimal():
        wraps = f"{group}/{_WRAPPED}" in groups
        own = stats.shape == () and int(index) < (_WRAPPER_COUNTERS if wraps else _COUNTERS)
        return TensorKind.OTHER if own else TensorKind.SLOT
    kind = kind_by_name(stats.name, tensors)
    if stats.name.startswith(_LEGACY_OPTIMIZER) and kind is TensorKind.WEIGHT:
        return TensorKind.SLOT
    return kind


def _legacy_iterations(tensors: Mapping[str, TensorStats]) -> list[str]:
    return [
        name
        for name in tensors
        if name.startswith(_LEGACY_OPTIMIZER)
        and _LEGACY_ITERATIONS.search(name)
        and "loss_scale_optimizer/iter" not in name
    ]
