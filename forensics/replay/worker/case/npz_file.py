"""Arrays of an ``.npz`` file: no pickle, and nothing is allocated that the file cannot hold."""

from __future__ import annotations

import zipfile
from typing import IO, Any, Dict, Iterator, Optional

import numpy as np
from numpy.lib import format as npy

MOST_BYTES = 16 << 30
_PIECE = 64 << 20


class BadArchive(Exception):
    """The file is not what it should be; the message says why."""


def read_npz(path: str, most: int = MOST_BYTES) -> Dict[str, Any]:
    """Read every array.

    Raises
    ------
    BadArchive
        When it is no such archive, holds Python objects, or claims more than `most` bytes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(m.file_size for m in members) > most:
                raise BadArchive("it holds more than %d bytes" % most)
            return {
                m.filename[:-4] if m.filename.endswith(".npy") else m.filename: _member(archive, m)
                for m in members
            }
    except BadArchive:
        raise
    except Exception as error:  # zipfile and numpy raise what they meet
        raise BadArchive("it cannot be read: %s" % error) from error


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    with archive.open(info) as member:
        version = npy.read_magic(member)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read is None:
            raise BadArchive("%s is of npy version %s" % (info.filename, version))
        shape, by_column, dtype = read(member)
        if dtype.hasobject:
            raise BadArchive("%s holds Python objects" % info.filename)
        size = int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize
        if size < 0 or size > info.file_size:
            raise BadArchive("%s claims more than it holds" % info.filename)
        data = bytearray(size)
        if _fill(member, data) != size or member.read(1):
            raise BadArchive("%s is not as long as it says" % info.filename)
        flat = np.frombuffer(data, dtype)
        return flat.reshape(shape, order="F" if by_column else "C")


def _fill(member: IO[bytes], data: bytearray) -> int:
    """Read in pieces to the end, which verifies the checksum of the member."""
    view, filled = memoryview(data), 0
    for piece in _pieces(member, len(data)):
        view[filled : filled + len(piece)] = piece
        filled += len(piece)
    return filled


def _pieces(member: IO[bytes], size: int) -> Iterator[bytes]:
    left = size
    while left:
        piece = member.read(min(left, _PIECE))
        if not piece:
            return
        left -= len(piece)
        yield piece


def typed(array: Any, name: Optional[str]) -> Any:
    """Give an array the dtype that it was stored for: NumPy itself knows no bfloat16."""
    if name is None or array.dtype.name == name:
        return array
    import tensorflow as tf

    wanted = np.dtype(tf.as_dtype(name).as_numpy_dtype)
    if wanted.itemsize != array.dtype.itemsize:
        raise BadArchive("%s does not hold %s" % (array.dtype.name, name))
    return array.view(wanted)
