"""Decode one dataset by libhdf5: the child side of the wall, a program of its own.

It runs under ``python -I`` and imports nothing of this package. One process imports h5py and waits;
for each request it forks a child, which gives up files, memory and time before it opens what it was
handed, writes the elements to a pipe and ends. Nothing that it says is believed but bytes.
"""

import ctypes
import io
import json
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

_MEMORY = 1 << 30
"""Bytes that decoding may take beyond what the imports took."""
_CPU_SECONDS = 60
_BOX = 16 << 20
"""Bytes that are decoded at once."""


def main() -> None:
    """Serve requests from the socket on stdin until it is closed."""
    import h5py
    import numpy  # noqa: F401

    h5py.h5.get_libversion()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    door = socket.socket(fileno=0)
    door.sendall(b"r")
    while True:
        first, lent, _, _ = socket.recv_fds(door, 4, 2)
        if len(first) < 4 or len(lent) != 2:
            return
        request = json.loads(_exactly(door, struct.unpack("<I", first)[0]))
        if os.fork() == 0:
            door.close()
            _serve(request, *lent)
        for descriptor in lent:
            os.close(descriptor)


def _exactly(door: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = door.recv(count - len(data))
        if not piece:
            sys.exit(1)
        data += piece
    return data


def _serve(request: dict[str, Any], source: int, out: int) -> None:
    """Answer one request and end, whatever happens."""
    status = 1
    try:
        os.write(out, struct.pack("<q", os.getpid()))
        _confine()
        _decode(request, source, out)
        status = 0
    finally:
        os._exit(status)


def _confine() -> None:
    """Give up memory, time, files and the network."""
    limits = [
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ]
    if os.path.exists("/proc/self/statm"):  # noqa: PTH110
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            taken = int(file.read().split()[0]) * resource.getpagesize()
        limits.append((resource.RLIMIT_AS, taken + _MEMORY))
    for kind, limit in limits:
        resource.setrlimit(kind, (limit, limit))
    if sys.platform == "linux":
        _deny_files()


def _deny_files() -> None:
    """Allow no file to be opened any more, where the kernel has Landlock.

    System calls by number, the same on every architecture; rights by version of the interface.
    https://docs.kernel.org/userspace-api/landlock.html
    """
    libc = ctypes.CDLL(None, use_errno=True)
    create, restrict, version_flag, no_new_privileges = 444, 446, 1, 38
    version = libc.syscall(
        ctypes.c_long(create), None, ctypes.c_long(0), ctypes.c_long(version_flag)
    )
    if version < 1:
        return
    rights = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    fields = struct.pack("=QQ", rights, 3) if version >= 4 else struct.pack("=Q", rights)
    ruleset = libc.syscall(
        ctypes.c_long(create), ctypes.c_char_p(fields), ctypes.c_long(len(fields)), ctypes.c_long(0)
    )
    if ruleset >= 0:
        libc.prctl(no_new_privileges, 1, 0, 0, 0)
        libc.syscall(ctypes.c_long(restrict), ctypes.c_long(ruleset), ctypes.c_long(0))


class _Window(io.RawIOBase):
    """A part of an open file."""

    def __init__(self, descriptor: int, start: int, size: int) -> None:
        self._descriptor, self._start, self._size, self._at = descriptor, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._size - self._at))
        data = os.pread(self._descriptor, count, self._start + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _decode(request: dict[str, Any], source: int, out: int) -> None:
    """Write the elements of a dataset, if it is the one that was asked for."""
    import h5py

    window = _Window(source, request["start"], request["size"])
    with h5py.File(window, "r") as file:
        found: Any = file
        for name in request["path"]:
            # No link is followed but hard ones.
            if not isinstance(found.get(name, getlink=True), h5py.HardLink):
                return
            found = found[name]
        same = list(found.shape) == request["shape"] and found.dtype.itemsize == request["element"]
        if not same or found.is_virtual or found.external:
            return
        for box in _boxes(found.shape, max(1, _BOX // found.dtype.itemsize)):
            data = memoryview(found[box].tobytes())
            while data:
                data = data[os.write(out, data) :]


def _boxes(shape: tuple[int, ...], most: int) -> Iterator[tuple[int | slice, ...]]:
    """Cover a dataset in C order by selections of at most `most` elements."""
    row = 1
    for size in shape[1:]:
        row *= size
    if row > most:
        for index in range(shape[0]):
            for below in _boxes(shape[1:], most):
                yield (index, *below)
        return
    rows = max(1, most // max(1, row))
    for start in range(0, shape[0], rows):
        yield (slice(start, min(start + rows, shape[0])),)


if __name__ == "__main__":
    main()
