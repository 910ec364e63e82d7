"""How much memory a replay may take, and the watch over it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from forensics.replay.sandbox import family

SHARE = 0.8
"""Of the machine's memory: the parent, and whatever else runs there, needs the rest."""
INTERVAL = 0.25
"""Seconds between two looks; one costs about two milliseconds with a hundred processes."""
GIGABYTE = 1 << 30


class MemoryWatch:
    """Ends a family of processes that takes more than it may.

    Parameters
    ----------
    pid : int
        The oldest of the family.
    limit : int
        Bytes.
    end : callable
        Called once, from the watch's thread, when the limit is passed.
    """

    def __init__(self, pid: int, limit: int, end: Callable[[], None]) -> None:
        self._pid, self._limit, self._end = pid, limit, end
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak = 0
        """Most bytes seen."""
        self.exceeded = False

    def start(self) -> None:
        """Begin, where this system tells how much memory a process holds."""
        if family.known():
            self._thread.start()

    def stop(self) -> None:
        """End the watch."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(2)

    def _watch(self) -> None:
        while not self._over.wait(INTERVAL):
            held = family.resident(self._pid)
            if held > self._limit:
                # forked workers share pages, which must not be counted several times
                held = min(held, family.exact(self._pid))
            self.peak = max(self.peak, held)
            if held > self._limit:
                self.exceeded = True
                self._end()
                return

    def describe(self) -> str:
        """Say what was taken of what was allowed."""
        return f"{in_gigabytes(self.peak)} of {in_gigabytes(self._limit)}"


def in_gigabytes(size: int) -> str:
    """Size in GB (2^30 bytes) with one decimal."""
    return f"{size / GIGABYTE:.1f} GB"


def default_limit() -> int | None:
    """Bytes a replay may take: a share of the machine's memory or of its control group's."""
    sizes = [size for size in (_machine(), *_groups()) if size]
    return int(SHARE * min(sizes)) if sizes else None


def _machine() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _groups() -> Iterator[int]:
    """Limits of the control groups that this process is in, both versions."""
    for file in _limit_files():
        try:
            text = file.read_text().strip()
        except OSError:
            continue
        # version 1 writes a number near 2^63 for no limit
        if text.isdigit() and int(text) < 1 << 60:
            yield int(text)


def _limit_files() -> Iterator[Path]:
    top = Path("/sys/fs/cgroup")
    yield top / "memory.max"
    yield top / "memory" / "memory.limit_in_bytes"
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            folder, name = top, "memory.max"
        elif "memory" in controllers.split(","):
            folder, name = top / "memory", "memory.limit_in_bytes"
        else:
            continue
        for part in Path(path.lstrip("/")).parts:
            folder /= part
            yield folder / name
