"""What the datasets of a Keras weights file are for, and what they say about the run.

Keras 3 stores the variables of each object under ``<path of the object>/vars/<index>``; those of an
optimizer begin with its iterations and, unless a schedule sets it, its learning rate. The older
format has ``model_weights`` and ``optimizer_weights`` with variables by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from forensics.domain.run import CheckpointFormat, TensorKind, TensorStats
from forensics.sources.checkpoints.checkpoint_format import (
    Claim,
    NotACheckpoint,
    OpenCheckpoint,
)
from forensics.sources.checkpoints.contents import Contents, single_float, single_integer
from forensics.sources.checkpoints.hdf5.file import H5Content, read_h5, read_root
from forensics.sources.checkpoints.keras_config import legacy_settings
from forensics.sources.checkpoints.optimizers import is_optimizer_name, optimizer_class
from forensics.sources.checkpoints.parts import Part
from forensics.sources.checkpoints.steps import Counters
from forensics.sources.checkpoints.stored_tensor import StoredTensor
from forensics.sources.checkpoints.tensor_names import kind_by_name
from forensics.sources.storage.place import Place

_LEGACY_OPTIMIZER = "optimizer_weights/"
_LEGACY_ITERATIONS = re.compile(r"(^|/)(iteration|iterations|iter)(:0)?$")
_SUFFIXES = (".h5", ".hdf5")
_OLDER = frozenset({"layer_names", "layer_names0", "model_config"})
"""Texts of the root group in the older format."""
_LISTS = re.compile(r"weight_names\d*")
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
        checkpoint.contents.verifiable = False
        source = Part(checkpoint.blob(claim.name, claim.format.value))
        if not claim.name.lower().endswith(".weights.h5"):
            root = read_root(source)
            if not root.failures and not is_keras_weights(root):
                raise NotACheckpoint(claim.name)
        add_weights(read_h5(source), checkpoint)


def is_keras_weights(content: H5Content) -> bool:
    """Whether an HDF5 file is a checkpoint of Keras, not somebody's data set."""
    texts = content.attributes.get("", {}).keys()
    return bool(content.root & _KERAS_ROOTS or _OLDER & texts)


def add_weights(content: H5Content, checkpoint: OpenCheckpoint) -> None:
    """List the tensors of a file; once they were read, judge what they are for."""
    for failure in (*content.failures, *content.lost):
        checkpoint.contents.fail(failure)
    if not content.failures:
        for missing in unlisted(content):
            detail = f"the file lists {missing!r}, and it is not there"
            checkpoint.contents.lose(checkpoint.claim.name, "missing_tensor", detail)
    checkpoint.stored.extend(_with_bfloat16(content))
    checkpoint.parallel = True
    texts = {
        path: {k: v[0] for k, v in found.items() if len(v) == 1}
        for path, found in content.attributes.items()
    }
    checkpoint.judge = partial(judge, checkpoint.claim.name, texts)


def _with_bfloat16(content: H5Content) -> list[StoredTensor]:
    """Name the dtype of tensors whose dtype the older format loses.

    Of all the dtypes that variables of Keras can have, bfloat16 is the only one of two bytes that
    HDF5 has not.
    """
    if not _OLDER & content.attributes.get("", {}).keys():
        return content.tensors
    return [
        replace(tensor, dtype="bfloat16") if content.opaque.get(tensor.name) == 2 else tensor
        for tensor in content.tensors
    ]


def unlisted(content: H5Content) -> list[str]:
    """Tensors that a file in the older format says it holds, and does not.

    Long lists are split over several attributes: ``weight_names0``, ``weight_names1``, ...
    """
    there = {tensor.name for tensor in content.tensors}
    promised = [
        f"{path}/{name}" if path else name
        for path, found in content.attributes.items()
        for key, names in found.items()
        if _LISTS.fullmatch(key)
        for name in names
    ]
    return [name for name in promised if name not in there]


def judge(path: str, texts: Mapping[str, Mapping[str, str]], contents: Contents) -> None:
    """Say what tensors are for, and find counters and settings among them.

    Parameters
    ----------
    path : str
        Of the checkpoint.
    texts : mapping
        Path of a group to its texts by name.
    """
    by_name = {stats.name: stats for stats in contents.tensors}
    names = {path.removesuffix("/vars"): found.get("name", "") for path, found in texts.items()}
    groups = _optimizer_groups(by_name, names)
    contents.tensors[:] = [
        replace(stats, kind=_kind(stats, by_name, groups)) for stats in contents.tensors
    ]
    working = [g for g in groups if f"{g}/{_WRAPPED}" not in groups]
    counts = [single_integer(by_name.get(f"{g}/vars/0")) for g in working]
    counts += [single_integer(by_name[name]) for name in _legacy_iterations(by_name)]
    contents.counters = Counters(iterations=min((c for c in counts if c is not None), default=None))
    root = texts.get("", {})
    if "model_config" in root or "training_config" in root:
        try:
            contents.config.update(legacy_settings(root))
        except ValueError as error:
            contents.lose(path, "bad_config", f"its configuration cannot be read: {error}")
    elif len(working) == 1:
        found = _of_optimizer(by_name, working[0], names.get(working[0]))
        contents.config = {**found, **contents.config}


def _of_optimizer(
    tensors: Mapping[str, TensorStats], group: str, name: str | None
) -> dict[str, Any]:
    """Return what the variables of an optimizer say where no configuration does."""
    rate = tensors.get(f"{group}/vars/1")
    found = {
        "optimizer": optimizer_class(name),
        "learning_rate": single_float(rate) if rate and rate.shape == () else None,
    }
    return {key: value for key, value in found.items() if value is not None}


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
