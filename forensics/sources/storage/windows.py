"""A local file from end to end without a copy that is kept: through one buffer, or mapped.

Where every byte is looked at, a buffer that is used again and again costs no more than mapping the
file (measured: 78 ms against 92 ms of page faults per GB), and whatever happens to the file is an
error or an early end. Only a reader that leaves most bytes out gains by mapping: it is done under a
lease on the file's length (see `read_lease`), so that nobody can shorten the file meanwhile, which
would kill the process. What the lease does not cover is a disk that fails under such a reader: that
is why nothing is mapped unless the caller asked to leave bytes out.
"""

from __future__ import annotations

import io
import mmap
import os
from typing import Protocol

from forensics.sources.storage.read_lease import ReadLease

_MAPPED = 4 << 20
"""Bytes from which mapping a file is worth its system calls."""
_WINDOW = 32 << 20
"""Bytes that are looked at before the lease is, and whose pages are then let go."""
_BUFFER = 1 << 20


class Examiner(Protocol):
    """Who looks at the bytes."""

    @property
    def needed(self) -> int:
        """Bytes wanted next."""

    def examine(self, view: memoryview, *, final: bool) -> int:
        """Look at the next bytes; return how many are done with."""


class Buffer:
    """Memory that files are read through, one after the other; it grows where it must."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(_BUFFER))

    def move(self, start: int, end: int, needed: int) -> int:
        """Move what is not done with to the front, with room for what is needed; its size."""
        rest = end - start
        room = max(needed, rest + 1)
        if room <= len(self.view):
            self.view[:rest] = self.view[start:end]
            return rest
        # Of two records of hundreds of megabytes the second may be a byte longer: let go first.
        kept = bytes(self.view[start:end])
        self.view = memoryview(b"")
        self.view = memoryview(bytearray(-(-room // _BUFFER) * _BUFFER))
        self.view[:rest] = kept
        return rest


def examine_file(
    descriptor: int, size: int, examiner: Examiner, buffer: Buffer, *, sparse: bool = False
) -> int:
    """Show the bytes of a file to an examiner, in order.

    Parameters
    ----------
    descriptor : int
        Open for reading.
    size : int
        Bytes to be read; what is appended later is left.
    examiner : Examiner
    buffer : Buffer
        Used where the file is not mapped.
    sparse : bool
        Whether the examiner leaves most bytes out.

    Returns
    -------
    int
        Bytes that the file had: fewer than `size` if it became shorter.

    Raises
    ------
    OSError
        It cannot be read.
    """
    done = 0
    if sparse and size >= _MAPPED:
        with ReadLease(descriptor) as lease:
            done = _mapped(descriptor, size, examiner, lease)
    return _buffered(descriptor, size, examiner, done, buffer) if done < size else size


def _mapped(descriptor: int, size: int, examiner: Examiner, lease: ReadLease) -> int:
    """Show what can be mapped; return how far it was done with."""
    if not lease.held or os.fstat(descriptor).st_size < size:
        return 0
    try:
        mapped = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
    except (OSError, ValueError):
        return 0
    done, end = 0, 0
    with mapped, memoryview(mapped) as whole:
        while end < size:
            begun, end = done, min(size, max(end + _WINDOW, done + examiner.needed))
            if not lease.held:
                return done
            with whole[begun:end] as view:
                done += examiner.examine(view, final=end == size)
            _forget(mapped, begun, done)
    return size


def _forget(mapped: mmap.mmap, start: int, end: int) -> None:
    """Let the pages go that are done with."""
    start, end = start - start % mmap.PAGESIZE, end - end % mmap.PAGESIZE
    if start < end:
        mapped.madvise(mmap.MADV_DONTNEED, start, end - start)


def _buffered(descriptor: int, size: int, examiner: Examiner, done: int, buffer: Buffer) -> int:
    """Show the rest, from `done` on; return where the file ends."""
    filled, offset = 0, done
    with io.FileIO(descriptor, closefd=False) as file:
        file.seek(done)
        while True:
            count = file.readinto(buffer.view[filled : filled + size - offset]) or 0
            filled, offset = filled + count, offset + count
            final = not count or offset == size
            if not final and filled < min(examiner.needed, len(buffer.view)):
                continue
            consumed = examiner.examine(buffer.view[:filled], final=final)
            if final:
                return offset
            filled = buffer.move(consumed, filled, examiner.needed)
