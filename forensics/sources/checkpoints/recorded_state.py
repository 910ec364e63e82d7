"""States that a FlightRecorder wrote: ``.npz`` files with an index of their variables.

They are read as data: nothing is unpickled, and nothing is allocated that the file cannot hold.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

import ml_dtypes
import numpy as np
from numpy.lib import format as npy

from forensics.domain.run import TensorKind
from forensics.errors import Damaged
from forensics.sources.checkpoints.contents import Contents
from forensics.sources.checkpoints.steps import Counters
from forensics.sources.checkpoints.tensor_stats import TensorSummary, counted_only, is_numeric
from forensics.sources.storage.blob import Blob, BlobFile

_INDEX = "index.npy"
_MOST_INDEX, _MOST_MEMBERS = 16 << 20, 100_000
_PIECE = 4 << 20
_KINDS = {"weight": TensorKind.WEIGHT, "slot": TensorKind.SLOT, "metric": TensorKind.METRIC}
_FAILURES = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, KeyError,
    TypeError, RuntimeError, NotImplementedError, OverflowError, AttributeError,
)  # fmt: skip


def read_state(blob: Blob, contents: Contents) -> None:
    """Read statistics of the variables into `contents`.

    Raises
    ------
    Damaged
        It is no such archive, or does not hold what its index says.
    """
    try:
        with zipfile.ZipFile(BlobFile(blob, 0, blob.size)) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if len(members) > _MOST_MEMBERS or members[_INDEX].file_size > _MOST_INDEX:
                raise Damaged(blob.name, 0, "limit", "the state has too many variables")
            index = _index(archive, members[_INDEX])
            for place, described in enumerate(index["variables"]):
                contents.tensors.append(_statistics(archive, members[f"{place}.npy"], described))
            contents.counters = Counters(step=int(index["step"]))
    except _FAILURES as error:
        raise Damaged(blob.name, 0, "bad_archive", f"the state cannot be read: {error}") from None


def _index(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> dict[str, Any]:
    with archive.open(info) as member:
        shape, dtype = _header(member)
        text = member.read(_MOST_INDEX)
    if dtype != np.uint8 or len(text) != int(np.prod(shape, dtype=object)):
        raise ValueError("its index is no text")
    found = json.loads(text)
    if not isinstance(found, dict) or not isinstance(found.get("variables"), list):
        raise ValueError("its index is no list of variables")
    return found


def _statistics(archive: zipfile.ZipFile, info: zipfile.ZipInfo, described: dict[str, Any]) -> Any:
    path, kind = str(described["path"]), _KINDS[described["role"]]
    with archive.open(info) as member:
        shape, stored = _header(member)
        dtype = _dtype(str(described["dtype"]), stored)
        count = int(np.prod(shape, dtype=object))
        if not 0 <= count * dtype.itemsize <= info.file_size:
            raise ValueError(f"{path} claims more than it holds")
        summary, seen = TensorSummary(), 0
        for piece in _pieces(member, dtype):
            seen += piece.size
            if is_numeric(dtype):
                summary.add(piece)
    if seen != count:
        raise ValueError(f"{path} is not as long as it says")
    if not is_numeric(dtype):
        return counted_only(path, kind, shape, dtype.name, count)
    return summary.finish(path, kind, shape, dtype.name)


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(member)
    if version != (1, 0):
        raise ValueError(f"npy version {version} is not the recorder's")
    shape, _, dtype = npy.read_array_header_1_0(member)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return tuple(int(n) for n in shape), dtype


def _dtype(name: str, stored: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that was stored as bits: NumPy itself knows no bfloat16."""
    if stored.name == name:
        return stored
    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    if dtype.itemsize != stored.itemsize:
        raise ValueError(f"{stored.name} does not hold {name}")
    return dtype


def _pieces(member: IO[bytes], dtype: np.dtype[Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Elements in pieces; reading to the end verifies the checksum of the member."""
    rest = b""
    while data := member.read(_PIECE):
        data = rest + data
        whole = len(data) // dtype.itemsize * dtype.itemsize
        yield np.frombuffer(data[:whole], dtype)
        rest = data[whole:]
    if rest:
        raise ValueError("an element is cut off")
