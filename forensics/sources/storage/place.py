"""A root and the files below it, by names relative to it: on a disk, or in a bucket.

Readers take a `Place` and a name, and never a path: they work the same wherever a run lies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from forensics.sources.storage.blob import Blob
from forensics.sources.storage.tree import Tree, survey


class Place(Protocol):
    """Where the files of a run lie."""

    @property
    def local(self) -> Path | None:
        """The directory on a disk, None where there is none."""

    @property
    def label(self) -> str:
        """What the user calls it: a path or a URL."""

    def survey(self) -> Tree:
        """List what lies below; nothing is opened."""

    def open(self, name: str) -> Blob:
        """Open a file.

        Parameters
        ----------
        name : str
            POSIX form, relative to the root.

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
    root : Path
        Need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.local: Path | None = root
        self.label = str(root)
        self._root = root

    def survey(self) -> Tree:
        """List what lies below; nothing is opened."""
        return survey(self._root)

    def open(self, name: str) -> Blob:
        """Open a regular file without blocking."""
        return Blob(self._root / name, name)
