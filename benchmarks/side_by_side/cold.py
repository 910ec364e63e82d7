"""Files that are not in memory, as those of last week's runs are not."""

from __future__ import annotations

import os
from pathlib import Path


def forget(root: Path) -> str:
    """Drop the files below `root` from the page cache; returns how, for the result's line."""
    for path in root.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
    try:
        Path("/proc/sys/vm/drop_caches").write_text("2", encoding="ascii")
    except OSError:
        return "files dropped from the page cache, directories not"
    return "files and directories dropped from the caches"
