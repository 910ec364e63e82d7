"""A root and the files below it, by names relative to it: on a disk, or in a bucket.

Readers take a `Place` and a name, and never a path: they work the same wherever a run lies.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from forensics.sources.storage.blob import Blob
from forensics.sources.storage.local_file import LocalFile
from forensics.sources.storage.tree import Tree, tree_of
from forensics.sources.storage.walk import Walk


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

    def expect(self, names: Iterable[str], beginning: int | None = None) -> None:
        """Take note of the files that will be opened next, in this order.

        Where reading takes long it begins now, many at a time; the rest is as it was.

        Parameters
        ----------
        names : iterable of str
            As listed by `survey`.
        beginning : int, optional
            Bytes that will be wanted of each, where these decide about the rest.
        """

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

    def path(self, name: str) -> Path | None:
        """Where a file lies on a disk, None where there is none; its name there may be another."""

    def changed(self) -> frozenset[str]:
        """Names of files that may have changed since the survey and whose `Blob` cannot tell."""


class Directory:
    """A directory on a local disk.

    Names whose bytes are no UTF-8 are listed with the bytes as escapes, so that whatever holds a
    name can be printed and saved.

    Parameters
    ----------
    root : str or path-like
        Need not exist.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.local: Path | None = Path(root)
        self.label = str(self.local)
        self._root = self.label
        self._real: dict[str, str] = {}

    def survey(self) -> Tree:
        """List what lies below; nothing is opened."""
        walk = Walk(self._root)
        walk.run()
        if not _is_text(walk.files):
            walk.files = self._shown(walk.files)
        walk.warnings = [replace(w, path=_escaped(w.path)) for w in walk.warnings]
        return tree_of(walk.files, walk.warnings)

    def expect(self, names: Iterable[str], beginning: int | None = None) -> None:
        """Do nothing: a disk is not asked before it is read."""

    def open(self, name: str) -> Blob:
        """Open a regular file without blocking."""
        return LocalFile(f"{self._root}/{self._real.get(name, name)}", name)

    def path(self, name: str) -> Path | None:
        """Where a file lies."""
        return Path(self._root, self._real.get(name, name))

    def changed(self) -> frozenset[str]:
        """Return none: an open file tells by itself."""
        return frozenset()

    def _shown(self, files: list[str]) -> list[str]:
        taken = set(files)
        shown = []
        for file in files:
            name = _escaped(file)
            if name != file:
                while name in taken:
                    name += "'"
                taken.add(name)
                self._real[name] = file
            shown.append(name)
        return shown


def _is_text(names: Iterable[str]) -> bool:
    try:
        "\n".join(names).encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
