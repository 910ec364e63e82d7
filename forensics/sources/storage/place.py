"""A root and the files below it, by names relative to it: on a disk, or in a bucket.

Readers take a `Place` and a name, and never a path: they work the same wherever a run lies.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from forensics.sources.storage.blob import Blob
from forensics.sources.storage.local_file import LocalFile
from forensics.sources.storage.tree import Tree, survey


class Place(Protocol):
    """Where the files of a run lie."""

    @property
    def local(self) -> Path | None:
        """The directory on a disk, None where there is none."""

    @property
    def label(self) -> str:
        """What the user calls it: a path or a URL; without secrets."""

    def survey(self) -> Tree:
        """List what lies below; nothing is opened."""

    def open(self, name: str) -> Blob:
        """Open a file.

        Parameters
        ----------
        name : str
            POSIX form, relative to the root, as listed by `survey`.

        Raises
        ------
        OSError
            It cannot be opened or read.
        NotRegular
            It is no regular file.
        """


class Directory:
    """A directory on a local disk.

    Parameters
    ----------
    root : str or path-like
        Need not exist.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.local: Path | None = Path(root)
        self.label = str(self.local)
        self._root = self.label

    def survey(self) -> Tree:
        """List what lies below; nothing is opened."""
        return survey(Path(self._root))

    def open(self, name: str) -> Blob:
        """Open a regular file without blocking."""
        return LocalFile(f"{self._root}/{name}", name)
