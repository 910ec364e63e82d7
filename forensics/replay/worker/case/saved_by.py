"""Which Keras wrote a checkpoint, and whether it is another than the one it is loaded into."""

from __future__ import annotations

import json
import zipfile
from typing import Any, Dict, Optional

from ..keras_family import keras_api

_MOST_METADATA = 1 << 20


def saved_by(path: str) -> Optional[str]:
    """Version of Keras that wrote a `.keras` or HDF5 file; None when the file does not tell."""
    try:
        if path.endswith(".keras"):
            return _version_in_archive(path)
        return _version_in_hdf5(path) if path.endswith((".h5", ".hdf5")) else None
    except Exception:
        return None


def _version_in_archive(path: str) -> Optional[str]:
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("metadata.json")
        if member.file_size > _MOST_METADATA:
            return None
        told: Dict[str, Any] = json.loads(archive.read(member))
    return str(told["keras_version"])[:40]


def _version_in_hdf5(path: str) -> Optional[str]:
    import h5py

    with h5py.File(path, "r") as file:
        told = file.attrs.get("keras_version")
        if told is None and "model_weights" in file:
            told = file["model_weights"].attrs.get("keras_version")
    if told is None:
        return None
    return (told.decode() if isinstance(told, bytes) else str(told))[:40]


def version_gap(path: str, model: Any) -> Optional[str]:
    """Say that a file was written by another Keras than the one it is loaded into."""
    theirs, ours = saved_by(path), keras_api.describe([model])
    if theirs is None or theirs.split(".")[:2] == ours.split(" ")[-1].split(".")[:2]:
        return None
    return "it was saved by Keras %s, this is Keras %s" % (theirs, ours)
