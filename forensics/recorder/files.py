"""Files that appear whole or not at all: whoever reads them, the writer may be killed any time."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

TEMPORARY = ".part"
Array = np.ndarray[Any, Any]
_LARGE = 1 << 31
"""Bytes from which an archive needs the 64-bit fields of the zip format."""
_MADE_1980 = (0, 0x21)
_VERSION, _UTF8 = 20, 0x800


def write_json(path: Path, content: Any) -> None:
    """Write a JSON document in place of the one that was there."""
    part = path.with_name(path.name + TEMPORARY)
    part.write_text(json.dumps(content, indent=1), encoding="utf-8")
    part.replace(path)


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays as an uncompressed ``.npz`` without pickle.

    The file is renamed when it is complete, and not synced to the disk: it outlives its process
    (the page cache does), but not the machine. ``benchmarks/recorder_overhead.py --fsync`` tells
    what a sync per batch would cost.

    Raises
    ------
    ValueError
        For an array of Python objects.
    """
    part = path.with_name(path.name + TEMPORARY)
    members = [(f"{name}.npy".encode(), *_npy(name, array)) for name, array in arrays.items()]
    with part.open("wb", buffering=0) as file:
        if sum(content.nbytes for _, _, content in members) < _LARGE:
            _write_archive(file, members)
        else:
            _write_large_archive(file, members)
    part.replace(path)


def as_bytes(document: Any) -> Array:
    """Return a JSON document as an array of bytes, to be put beside what it describes."""
    return np.frombuffer(json.dumps(document).encode("utf-8"), np.uint8)


def _npy(name: str, array: Array) -> tuple[bytes, memoryview]:
    if array.dtype.hasobject:
        raise ValueError(f"{name} holds Python objects")
    # `ascontiguousarray` would make an array of one dimension of a scalar
    whole = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    return _header(whole.dtype.str, whole.shape), whole.reshape(-1).view(np.uint8).data


@lru_cache(maxsize=4096)
def _header(dtype: str, shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    npy.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    return header.getvalue()


def _write_archive(file: IO[bytes], members: list[tuple[bytes, bytes, memoryview]]) -> None:
    """Write a zip archive of stored members.

    ``zipfile`` does the same in five times the time, which counts for a file per step.
    """
    directory, offset = [], 0
    for name, header, content in members:
        size = len(header) + content.nbytes
        fields = (
            _VERSION, _UTF8, 0, *_MADE_1980, zlib.crc32(content, zlib.crc32(header)), size, size,
            len(name), 0,
        )  # fmt: skip
        local = struct.pack("<4s5H3L2H", b"PK\3\4", *fields) + name + header
        central = struct.pack("<4s6H3L5H2L", b"PK\1\2", _VERSION, *fields, 0, 0, 0, 0, offset)
        directory.append(central + name)
        _write_all(file, memoryview(local))
        _write_all(file, content)
        offset += len(local) + content.nbytes
    listed = b"".join(directory)
    count = len(members)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(listed), offset, 0)
    _write_all(file, memoryview(listed + end))


def _write_all(file: IO[bytes], content: memoryview) -> None:
    """Write everything: an unbuffered file may take less than it is given."""
    while content.nbytes:
        content = content[file.write(content) :]


def _write_large_archive(file: IO[bytes], members: list[tuple[bytes, bytes, memoryview]]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, header, content in members:
            with archive.open(name.decode(), "w", force_zip64=True) as member:
                member.write(header)
                for piece in _pieces(content):
                    member.write(piece)


def _pieces(content: memoryview) -> Iterator[memoryview]:
    for start in range(0, content.nbytes, 1 << 26):
        yield content[start : start + (1 << 26)]
