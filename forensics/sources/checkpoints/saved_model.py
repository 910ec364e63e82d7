"""SavedModels: a tensor bundle below ``variables/``, and graphs that say how it was trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from forensics.domain.run import CheckpointFormat
from forensics.errors import Damaged
from forensics.sources.checkpoints.bundle import list_bundle
from forensics.sources.checkpoints.bundle_meaning import BundleMeaning
from forensics.sources.checkpoints.checkpoint_format import (
    Claim,
    NotACheckpoint,
    OpenCheckpoint,
    Unopened,
)
from forensics.sources.checkpoints.contents import Contents
from forensics.sources.checkpoints.farmhash import fingerprint64
from forensics.sources.checkpoints.keras_config import parse_json, settings
from forensics.sources.checkpoints.saved_model_file import (
    SavedModelFile,
    read_keras_metadata,
    read_saved_model,
)
from forensics.sources.checkpoints.saved_variables import compare_variables
from forensics.sources.checkpoints.strict_json import mapping
from forensics.sources.graphs.settings import settings_of_graphs
from forensics.sources.storage.blob import NotRegular
from forensics.sources.storage.place import Place
from forensics.sources.typed_fields import fields, number_field

_T = TypeVar("_T")

KIND = CheckpointFormat.SAVED_MODEL.value
_MODEL, _METADATA, _FINGERPRINT = "saved_model.pb", "keras_metadata.pb", "fingerprint.pb"
_VARIABLES = "variables/variables"
_OF_VARIABLES = 5
"""Field ``checkpoint_hash`` of ``FingerprintDef``: Fingerprint64 of the index of the variables."""
_MAX_HASHED = 8 << 20
"""Bytes of an index that is fingerprinted, in plain Python: a second or two."""


class SavedModel:
    """Folders with a ``saved_model.pb``."""

    def find(self, names: Sequence[str], place: Place) -> Iterable[Claim]:
        """Claim the file with what belongs to it: metadata and variables."""
        for name in names:
            if name.rpartition("/")[2] == _MODEL:
                folder = name[: -len(_MODEL)]
                own = (folder + _METADATA, folder + _FINGERPRINT)
                files = tuple(
                    other
                    for other in names
                    if other in own or other.startswith(f"{folder}{_VARIABLES}.")
                )
                yield Claim(folder.rstrip("/") or ".", CheckpointFormat.SAVED_MODEL, (name, *files))

    def fill(self, checkpoint: OpenCheckpoint) -> None:
        """Read model and metadata as data, and list the variables."""
        checkpoint.contents.verifiable = False  # The model's own file has no checksum.
        files = checkpoint.claim.files
        folder = files[0][: -len(_MODEL)]
        stored = any(file.startswith(f"{folder}{_VARIABLES}.") for file in files)
        model = _attempt(checkpoint, files[0], read_saved_model)
        if not stored and model is not None:
            if not model.variables:
                raise NotACheckpoint
            detail = f"the model has {len(model.variables)} variables, and none was saved"
            checkpoint.contents.lose(f"{folder}{_VARIABLES}.index", "missing_index", detail)
        metadata = _beside(checkpoint, folder + _METADATA, read_keras_metadata)
        fingerprint = _beside(checkpoint, folder + _FINGERPRINT, _fingerprint_of_variables)
        _check_fingerprint(checkpoint, f"{folder}{_VARIABLES}.index", fingerprint)
        texts = [*(metadata or ()), *(model.metadata if model else ())]
        config = {**_graph_config(checkpoint, files[0], model), **_keras_config(texts)}
        meaning = list_bundle(checkpoint, folder + _VARIABLES) if stored else None
        checkpoint.judge = _Meaning(meaning, model, files[0], config)


@dataclass(frozen=True, slots=True)
class _Meaning:
    """Judges variables by the bundle's own graph of objects, and adds what the model says."""

    bundle: BundleMeaning | None
    model: SavedModelFile | None
    path: str
    config: Mapping[str, Any]

    def __call__(self, contents: Contents) -> None:
        if self.bundle is not None:
            self.bundle(contents)
            if self.model is not None:
                compare_variables(self.model.variables, self.bundle, self.path, contents)
        contents.config = {**contents.config, **self.config}


def _attempt(checkpoint: OpenCheckpoint, name: str, read: Callable[[bytes, str], _T]) -> _T | None:
    """Read a file as a whole; what is wrong with it is recorded."""
    blob = checkpoint.blob(name, KIND)
    try:
        if blob.whole is None:
            raise Damaged(name, 0, "limit", f"{blob.size} bytes are not read as a whole")
        return read(blob.whole, name)
    except Damaged as error:
        checkpoint.contents.fail(error)
        return None


def _beside(checkpoint: OpenCheckpoint, name: str, read: Callable[[bytes, str], _T]) -> _T | None:
    """Read a file that need not be there."""
    if name not in checkpoint.claim.files:
        return None
    try:
        return _attempt(checkpoint, name, read)
    except Unopened as error:
        checkpoint.contents.refuse(name, KIND, error.cause)
        return None


def _fingerprint_of_variables(data: bytes, path: str) -> int:
    """Read the fingerprint of the variables' index; 0 where there is none."""
    found = 0
    for part in fields(data, (0, len(data)), path):
        if part.number == _OF_VARIABLES:
            found = number_field(part, path)
    return found


def _check_fingerprint(checkpoint: OpenCheckpoint, name: str, fingerprint: int | None) -> None:
    """Record variables that are not those that the model was saved with."""
    if not fingerprint or name not in checkpoint.claim.files:
        return
    try:
        with checkpoint.place.open(name) as blob:
            if blob.size > _MAX_HASHED or blob.whole is None:
                return
            found = fingerprint64(blob.whole)
    except (OSError, NotRegular):
        return  # Said when the variables are read.
    if found != fingerprint:
        detail = "these are not the variables that the model was saved with, by its fingerprint"
        checkpoint.contents.lose(name, "fingerprint_mismatch", detail)


def _graph_config(
    checkpoint: OpenCheckpoint, path: str, model: SavedModelFile | None
) -> dict[str, Any]:
    try:
        return settings_of_graphs(model.graphs, path) if model is not None else {}
    except Damaged as error:
        checkpoint.contents.fail(error)
        return {}


def _keras_config(texts: Sequence[str]) -> dict[str, Any]:
    """Find settings in what Keras 2 says of the root object; what is no JSON is left out."""
    try:
        root = parse_json(texts[0]) if texts else {}
    except ValueError:
        return {}
    training = mapping(root.get("training_config"))
    optimizer = dict(mapping(training.get("optimizer_config")))
    name = optimizer.get("class_name")
    if isinstance(name, str):
        optimizer["class_name"] = name.rpartition(">")[2]
    config = dict(mapping(root.get("config")))
    config.setdefault("dtype", root.get("dtype"))
    compiled = {"optimizer": optimizer, "loss": training.get("loss")}
    return settings({**root, "config": config, "compile_config": compiled})
