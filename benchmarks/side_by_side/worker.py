"""A reader in a process of its own, warm, that reads when it is told to and says what it cost.

Peers that import TensorFlow bring threads and memory of their own: each reader has its process, and
they take turns on the same files.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

HERE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Cost:
    """Seconds of processor and of wall, points found, peak memory in bytes.

    ``anonymous`` is the peak of memory that is no file's: mapped files can be dropped at any time.
    """

    cpu: float
    wall: float
    count: int
    resident: int
    anonymous: int


class Worker:
    """A process that runs one reader."""

    def __init__(self, reader: str, environment: Mapping[str, str] | None = None) -> None:
        self.reader = reader
        paths = [str(HERE), str(HERE.parent)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "side_by_side.worker", reader],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | dict(environment or {}),
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def read(self, path: Path | str, *, sample: bool = False) -> Cost:
        """Read once; `sample` watches its memory."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"path": str(path), "sample": sample}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.reader} died reading {path}")
        found = json.loads(answer)
        if "error" in found:
            raise RuntimeError(f"{self.reader} failed on {path}: {found['error']}")
        return Cost(**found)


def _serve(name: str) -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from side_by_side.readers import READERS

    work = READERS[name]
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = _measure(work, order)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(answer) + "\n")
        out.flush()


def _measure(work: object, order: dict[str, object]) -> dict[str, float]:
    assert callable(work)
    path = str(order["path"])
    target = path if "://" in path else Path(path)
    gc.collect()
    watch = _Watch() if order["sample"] else None
    _forget_peak()
    begun, spent = time.perf_counter(), _cpu()
    count = work(target)
    cpu, wall = _cpu() - spent, time.perf_counter() - begun
    return {
        "cpu": cpu,
        "wall": wall,
        "count": count,
        "resident": _status("VmHWM"),
        "anonymous": watch.stop() if watch else _status("RssAnon"),
    }


def _cpu() -> float:
    """Of this process and of the children it has waited for."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


class _Watch(threading.Thread):
    """Largest anonymous memory, looked at every few milliseconds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._done, self._most = threading.Event(), 0
        self.start()

    def run(self) -> None:
        while not self._done.wait(0.005):
            self._most = max(self._most, _status("RssAnon"))

    def stop(self) -> int:
        self._done.set()
        self.join()
        return self._most


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status(field: str) -> int:
    """A field of /proc/self/status in bytes, 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), 0)


if __name__ == "__main__":
    _serve(sys.argv[1])
