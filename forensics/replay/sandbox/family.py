"""A process and everything that descends from it, as ``/proc`` tells it.

Works on Linux; elsewhere there is no ``/proc`` and a family is not known (None).
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
ROUNDS = 200
"""Times that a family is looked for and killed: one that forks meanwhile needs several."""
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def known() -> bool:
    """Whether this system tells who descends from whom."""
    return (PROC / "self" / "stat").exists()


def descendants(pid: int) -> list[int]:
    """Living processes below `pid`, zombies left out; empty where nothing is known."""
    children: dict[int, list[int]] = {}
    for entry in _numbers():
        parent = _parent(entry)
        if parent is not None:
            children.setdefault(parent, []).append(entry)
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def resident(pid: int) -> int:
    """Bytes of memory that a process and its descendants hold, pages they share counted once.

    Resident sizes are read first: they are quick, and an upper bound. `exact` divides shared pages.
    """
    return sum(_resident(member) for member in (pid, *descendants(pid)))


def exact(pid: int) -> int:
    """Bytes as `resident`, shared pages divided among their holders (proportional set size)."""
    return sum(_proportional(member) for member in (pid, *descendants(pid)))


def end_descendants(pid: int) -> list[int]:
    """Kill everything below `pid`, again and again while it forks; returns what is left."""
    left: list[int] = []
    for _ in range(ROUNDS):
        left = descendants(pid)
        if not left:
            break
        # a whole group at once: one that forks and leaves is never where it was seen
        for group in _groups(left) - {os.getpgrp()}:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        for member in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(member, signal.SIGKILL)
        _reap()
        time.sleep(0.005)
    return left


def _reap() -> None:
    """Take leave of dead children, which would otherwise stay in the table."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _numbers() -> list[int]:
    try:
        return [int(name) for name in os.listdir(PROC) if name.isdigit()]  # noqa: PTH208
    except OSError:
        return []


def _parent(pid: int) -> int | None:
    try:
        state, parent = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else int(parent)


def _groups(members: list[int]) -> set[int]:
    found = set()
    for member in members:
        with suppress(OSError):
            found.add(os.getpgid(member))
    return found


def _resident(pid: int) -> int:
    try:
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    try:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return _resident(pid)
