"""Datasets that only libhdf5 can decode, read behind a process wall.

libhdf5 does not survive damaged files, and so it never runs in this process. What a dataset is, how
large it is and that all its chunks are there was found out here; from the child come its bytes
alone, as many as there must be. A child that dies or hangs is a finding.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from forensics.errors import Damaged
from forensics.sources.checkpoints.hdf5.image import Source
from forensics.sources.checkpoints.stored_tensor import PIECE

_WORKER = Path(__file__).with_name("decode_worker.py")
_PATIENCE = 10.0
"""Wall seconds without a byte until a child is ended."""
_START = 60.0
"""Wall seconds that importing h5py may take."""
_PID_BYTES = 8
_LONGEST_REQUEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Request:
    """A dataset to be decoded.

    Attributes
    ----------
    source : Source
        Its file.
    address : int
        Of its object header, for errors.
    path : str
        Its name, with those of its groups.
    shape : tuple of int
        Its shape.
    element : int
        Bytes of an element.
    """

    source: Source
    address: int
    path: str
    shape: tuple[int, ...]
    element: int

    def failed(self, kind: str, detail: str) -> Damaged:
        """Error of this dataset."""
        source = self.source
        return Damaged(source.name, source.place(self.address), kind, f"{self.path!r}: {detail}")


def decoded(request: Request, size: int) -> Iterator[memoryview]:
    """Elements of a dataset as they are in the file once decoded, at most `PIECE` at a time.

    Raises
    ------
    Damaged
        ``reader_died``: the child died, gave up or hung; ``unsupported``: there can be no child.
    """
    with _lent(request.source) as (descriptor, start):
        text = json.dumps(
            {
                "path": request.path.split("/"), "shape": list(request.shape),
                "element": request.element, "start": start, "size": request.source.size,
            }
        ).encode()  # fmt: skip
        if len(text) > _LONGEST_REQUEST:
            raise request.failed("unsupported", "its name is too long to be handed to libhdf5")
        ours, theirs = os.pipe()
        try:
            try:
                _ask(text, descriptor, theirs, request)
            finally:
                os.close(theirs)
            yield from _received(ours, size, request)
        finally:
            os.close(ours)


def _received(pipe: int, size: int, request: Request) -> Iterator[memoryview]:
    answer = _Answer(pipe, request)
    (answer.pid,) = struct.unpack("<q", answer.exactly(_PID_BYTES))
    for start in range(0, size, PIECE):
        answer.so_far = start
        yield memoryview(answer.exactly(min(PIECE, size - start)))


class _Answer:
    """What a child writes, as long as it writes."""

    def __init__(self, pipe: int, request: Request) -> None:
        self._pipe, self._request = pipe, request
        self.pid, self.so_far = 0, 0

    def exactly(self, count: int) -> bytearray:
        """`count` bytes, or a finding."""
        found = bytearray()
        while len(found) < count:
            ready, _, _ = select.select([self._pipe], [], [], _PATIENCE)
            if not ready:
                if self.pid > 1:
                    # It holds the other end of the pipe, and so it is this child that is alive.
                    with suppress(ProcessLookupError):
                        os.kill(self.pid, signal.SIGKILL)
                raise self._request.failed("reader_died", "libhdf5 hung on it, and was ended")
            piece = os.read(self._pipe, count - len(found))
            if not piece:
                detail = f"libhdf5 died on it, or gave up, after {self.so_far} bytes"
                raise self._request.failed("reader_died", detail)
            found += piece
        return found


@contextmanager
def _lent(source: Source) -> Iterator[tuple[int, int]]:
    """Offer an open file with the bytes of `source`, and where they begin in it."""
    own = source.descriptor
    if own is not None:
        yield own
        return
    with tempfile.TemporaryFile() as copy:
        for start in range(0, source.size, PIECE):
            copy.write(source.read(start, min(PIECE, source.size - start)))
        copy.flush()
        yield copy.fileno(), 0


class _Server:
    """A process that has imported h5py and forks a child for each request."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.door, theirs = socket.socketpair()
        environment = {
            "HDF5_PLUGIN_PRELOAD": "::",  # No filter is loaded from a library.
            "OPENBLAS_NUM_THREADS": "1",
        }
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(_WORKER)],
                stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=environment, start_new_session=True,
            )  # fmt: skip
        ready, _, _ = select.select([self.door], [], [], _START)
        self.works = bool(ready) and self.door.recv(1) == b"r"

    def ask(self, text: bytes, source: int, pipe: int) -> bool:
        """Hand on a request; whether that worked."""
        try:
            socket.send_fds(self.door, [struct.pack("<I", len(text))], [source, pipe])
            self.door.sendall(text)
        except OSError:
            return False
        return True

    def end(self) -> None:
        """End it; only the process that started it does."""
        self.door.close()
        if self.owner == os.getpid():
            self._process.kill()
            self._process.wait()


_lock = threading.Lock()
_running: list[_Server] = []


def _ask(text: bytes, source: int, pipe: int, request: Request) -> None:
    if not (hasattr(os, "fork") and hasattr(socket, "send_fds")):
        raise request.failed("unsupported", "libhdf5 can be walled in on POSIX systems only")
    with _lock:
        for _ in range(2):
            server = _server()
            if not server.works:
                break
            if server.ask(text, source, pipe):
                return
            _end()
    raise request.failed("unsupported", "it needs libhdf5, and h5py cannot be started")


def _server() -> _Server:
    """Return the server of this process; one that a parent started is not shared."""
    if _running and _running[0].owner != os.getpid():
        _end()
    if not _running:
        if not _end_registered:
            atexit.register(_end)
            _end_registered.append(True)
        _running.append(_Server())
    return _running[0]


_end_registered: list[bool] = []


def _end() -> None:
    while _running:
        _running.pop().end()
