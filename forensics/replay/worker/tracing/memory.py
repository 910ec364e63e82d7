"""How much memory a traced step may take: eager mode frees less on the way than a graph does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, List, Optional, Tuple

from .. import arrays

SHARE = 0.8
"""Share of the memory that is free when a trace begins which the trace may fill."""
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


class TooLarge(Exception):
    """The step takes more memory, op by op, than there is."""


def resident() -> int:
    """Bytes of this process in memory; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def free() -> Optional[int]:
    """Bytes that can still be had, by the machine and by the limit of a container."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = [int(n.split()[1]) * 1024 for n in lines if n.startswith("MemAvailable:")]
    except (OSError, ValueError):
        return None
    for limit, used in _CGROUPS:
        try:
            found.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # "max": no limit
            continue
    return min(found, default=None)


def bound() -> Optional[int]:
    """Bytes that this process may grow to while it traces a step; None: unknown."""
    left, now = free(), resident()
    return now + int(SHARE * left) if left is not None and now else None


def halves(batch: Any, rows: Optional[int]) -> List[Tuple[int, Any]]:
    """Both halves of a batch with the number of their first row; nothing when it has one row."""
    if rows is None or rows < 2:
        return []
    middle = rows // 2

    def part(low: int, high: int) -> Any:
        def cut(value: Any) -> Any:
            shape: Any = getattr(value, "shape", ())
            return value[low:high] if len(shape) and shape[0] == rows else value

        return arrays.mapped(batch, cut)

    return [(0, part(0, middle)), (middle, part(middle, rows))]
