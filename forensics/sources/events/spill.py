"""Rows that are too many for memory, in temporary files that have no name.

Memory is counted over all files that are read and kept. What goes beyond lies in files that are
given their whole size before they are mapped: a full disk is an error then, and not the signal that
would kill the process later. Where there is no room on the disk either, memory is used.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Mapping
from typing import IO

import numpy as np
import numpy.typing as npt

KEPT, STAGED = 160 << 20, 64 << 20
"""Bytes that are kept in memory: of columns that are done, and of rows on their way there."""
_COUNTED = 64 << 10
"""Bytes from which an array is counted."""
_SLAB = 64 << 20
"""Bytes of a file that arrays are cut from: an open file each would be too many."""

Array = npt.NDArray[np.generic]


class _Memory:
    """Bytes in use, of a limited number."""

    def __init__(self) -> None:
        self._used = 0
        self._lock = threading.RLock()

    def claim(self, size: int, limit: int) -> bool:
        """Count so many bytes, if they are within the limit."""
        with self._lock:
            if self._used + size > limit:
                return False
            self._used += size
            return True

    def give_back(self, size: int) -> None:
        """Count so many bytes no more."""
        with self._lock:
            self._used -= size


class _Slabs:
    """Arrays cut from mapped files."""

    def __init__(self) -> None:
        self._slab: mmap.mmap | None = None
        self._used = 0
        self._lock = threading.Lock()

    def cut(self, count: int, kind: type[np.generic]) -> Array | None:
        """Array in a file; None where there is no room on the disk."""
        size = -(-count * np.dtype(kind).itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
        with self._lock:
            if self._slab is None or self._used + size > len(self._slab):
                self._slab, self._used = _mapped(max(size, _SLAB)), 0
            if self._slab is None:
                return None
            start, self._used = self._used, self._used + size
            return np.frombuffer(self._slab, kind, count, start)


def _mapped(size: int) -> mmap.mmap | None:
    try:
        with tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, size)
            return mmap.mmap(file.fileno(), size)
    except (OSError, AttributeError):
        return None


_KEPT, _STAGED, _SLABS = _Memory(), _Memory(), _Slabs()


def allocate(count: int, kind: type[np.generic]) -> Array:
    """Array for so many elements of a column that is kept: in memory, or in a file."""
    size = count * np.dtype(kind).itemsize
    counted = size >= _COUNTED
    if counted and not _KEPT.claim(size, KEPT):
        found = _SLABS.cut(count, kind)
        if found is not None:
            return found
        counted = False
    array = np.empty(count, kind)
    if counted:
        weakref.finalize(array, _KEPT.give_back, size)
    return array


def release(array: Array) -> None:
    """Let the pages of an array go that lies in a file; they come back when they are looked at."""
    base = array.base
    mapped = base.obj if isinstance(base, memoryview) else None
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


class Chunks:
    """Chunks of rows, of which those beyond the limit of memory lie in a file."""

    def __init__(self) -> None:
        self._chunks: list[tuple[Mapping[str, Array], int]] = []
        self._held = self._length = 0
        self._file: IO[bytes] | None = None

    def put(self, chunk: Mapping[str, Array], count: int) -> bool:
        """Keep a chunk of `count` rows; return whether its arrays may be used again."""
        size = sum(array.nbytes for array in chunk.values())
        if _STAGED.claim(size, STAGED):
            self._held += size
        elif self._write(chunk):
            self._chunks.append(({name: array[:0] for name, array in chunk.items()}, count))
            return True
        self._chunks.append((chunk, count))
        return False

    def pop_all(self) -> list[tuple[Mapping[str, Array], int]]:
        """Give back what was put, in order; to be taken from the end, with `loaded`."""
        if self._file is not None:
            self._file.seek(0)
        chunks, self._chunks = self._chunks, []
        _STAGED.give_back(self._held)
        self._held = 0
        chunks.reverse()
        return chunks

    def loaded(self, chunk: Mapping[str, Array], count: int) -> Mapping[str, Array]:
        """Rows of a chunk that was given back, in memory."""
        if not count or self._file is None or len(next(iter(chunk.values()))):
            return chunk
        return {name: np.fromfile(self._file, a.dtype, self._length) for name, a in chunk.items()}

    def clear(self) -> None:
        """Forget all chunks."""
        self.pop_all()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, chunk: Mapping[str, Array]) -> bool:
        start = 0
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
            start = self._file.tell()
            for array in chunk.values():
                self._length = len(array)
                array.tofile(self._file)
        except OSError:
            if self._file is not None:
                self._file.seek(start)
                self._file.truncate()
            return False
        return True
