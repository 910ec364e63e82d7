"""States that a FlightRecorder wrote: ``.npz`` files with an index of their variables.

They are read as data: nothing is unpickled, and nothing is allocated that the file cannot hold.
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import IO, Any

import numpy as np

from forensics.domain.run import CheckpointFormat, TensorKind
from forensics.errors import Damaged
from forensics.sources.checkpoints.checkpoint_format import Claim, Format, OpenCheckpoint
from forensics.sources.checkpoints.contents import Contents
from forensics.sources.checkpoints.dtypes import numpy_dtype
from forensics.sources.checkpoints.npy_header import read_npy_header
from forensics.sources.checkpoints.steps import Counters
from forensics.sources.checkpoints.stored_tensor import PIECE, StoredTensor
from forensics.sources.checkpoints.tensor_stats import is_numeric
from forensics.sources.recording import STATE, is_state
from forensics.sources.storage.blob import BlobFile
from forensics.sources.storage.place import Place

_INDEX = "index.npy"
_MOST_INDEX, _MOST_MEMBERS = 16 << 20, 100_000
_KINDS = {"weight": TensorKind.WEIGHT, "slot": TensorKind.SLOT, "metric": TensorKind.METRIC}
_FAILURES = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, KeyError,
    TypeError, RuntimeError, NotImplementedError, OverflowError, AttributeError,
)  # fmt: skip


class RecordedState:
    """States of a recording inside the log directory."""

    def find(self, names: Sequence[str], place: Place) -> Iterable[Claim]:
        """Claim the states that lie in a folder of recordings."""
        return [_claim(name) for name in names if is_state(name)]

    def fill(self, checkpoint: OpenCheckpoint) -> None:
        """Read the index and list the variables."""
        claim = checkpoint.claim
        blob = checkpoint.blob(claim.name, claim.format.value)
        with _as_damage(blob.name):
            archive = checkpoint.stack.enter_context(zipfile.ZipFile(BlobFile(blob, 0, blob.size)))
            members = {info.filename: info for info in archive.infolist()}
            if len(members) > _MOST_MEMBERS or members[_INDEX].file_size > _MOST_INDEX:
                raise Damaged(blob.name, 0, "limit", "the state has too many variables")
            index = _index(archive, members[_INDEX])
            kinds: dict[str, TensorKind] = {}
            for place, described in enumerate(index["variables"]):
                tensor = _stored(archive, members[f"{place}.npy"], described, blob.name)
                kinds[tensor.name] = _KINDS[described["role"]]
                checkpoint.stored.append(tensor)
            checkpoint.contents.counters = Counters(step=int(index["step"]))
            checkpoint.judge = partial(_judge, kinds)


def states_in(names: Iterable[str]) -> Iterator[tuple[Format, Claim]]:
    """Claims of the states of a recording that lies anywhere, among the files of its folder."""
    form = RecordedState()
    return ((form, _claim(name)) for name in sorted(names) if STATE.fullmatch(name))


def _claim(name: str) -> Claim:
    return Claim(name, CheckpointFormat.RECORDED_STATE, (name,))


def _judge(kinds: Mapping[str, TensorKind], contents: Contents) -> None:
    contents.tensors[:] = [replace(t, kind=kinds[t.name]) for t in contents.tensors]


@contextmanager
def _as_damage(path: str) -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        raise Damaged(path, 0, "bad_archive", f"the state cannot be read: {error}") from None


def _index(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> dict[str, Any]:
    with archive.open(info) as member:
        shape, dtype = _header(member)
        text = member.read(_MOST_INDEX)
    if dtype != np.uint8 or len(text) != math.prod(shape):
        raise ValueError("its index is no text")
    found = json.loads(text)
    if not isinstance(found, dict) or not isinstance(found.get("variables"), list):
        raise ValueError("its index is no list of variables")
    return found


def _stored(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, described: dict[str, Any], path: str
) -> StoredTensor:
    name = str(described["path"])
    with archive.open(info) as member:
        shape, stored = _header(member)
    dtype = _dtype(str(described["dtype"]), stored)
    size = math.prod(shape) * dtype.itemsize
    if not 0 <= size <= info.file_size:
        raise ValueError(f"{name} claims more than it holds")
    pieces = partial(_pieces, archive, info, size, dtype.itemsize, path)
    return StoredTensor(name, shape, dtype.name if is_numeric(dtype) else "opaque", pieces)


def _pieces(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int, width: int, path: str
) -> Iterator[memoryview]:
    """Elements in pieces; reading to the end verifies the checksum of the member."""
    left = size
    with _as_damage(path), archive.open(info) as member:
        _header(member)
        while data := member.read(PIECE):
            left -= len(data)
            if left < 0 or len(data) % width:
                break
            yield memoryview(data)
        if left:
            raise ValueError(f"{info.filename} is not as long as it says")


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    header = read_npy_header(member)
    if header.fortran:
        raise ValueError("its elements are not in the order of C")
    return header.shape, header.dtype


def _dtype(name: str, stored: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that was stored as bits: NumPy itself knows no bfloat16."""
    if stored.name == name:
        return stored
    dtype = numpy_dtype(name)
    if dtype.itemsize != stored.itemsize:
        raise ValueError(f"{stored.name} does not hold {name}")
    return dtype
