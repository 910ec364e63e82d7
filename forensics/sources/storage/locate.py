"""From what the user typed to the place where the files lie."""

from __future__ import annotations

import os
from pathlib import Path

from forensics.errors import NothingToAnalyze
from forensics.sources.storage.place import Directory, Place


def place_at(root: str | Path) -> Place:
    """Place with a root that is known to be a directory, e.g. that of a `Run`."""
    return Directory(root)


def locate(path: str | Path) -> tuple[Place, str | None]:
    """Place that a path names, and the name in it where the path is that of a file.

    Raises
    ------
    NothingToAnalyze
        There is nothing of this name.
    """
    # exists() would say no to a directory that may not be looked at.
    if not os.path.lexists(path):
        raise NothingToAnalyze(f"{path}: there is no such file or directory")
    if Path(path).is_dir():
        return Directory(path), None
    return Directory(Path(path).parent), Path(path).name
