"""Values by key, as Orbax stores arrays: in an OCDBT database, or in files below a folder.

Names of folders end with a slash; that of the place itself is empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Protocol

from forensics.errors import Damaged
from forensics.sources.checkpoints.orbax.data_files import Reference
from forensics.sources.checkpoints.orbax.database import Database, Value, read_manifest
from forensics.sources.checkpoints.orbax.files import Files
from forensics.sources.checkpoints.orbax.span import InMemory, Span

MANIFEST = "manifest.ocdbt"
_NUMBERED = re.compile(r"manifest\.[0-9a-f]{16}")
_OF_A_PROCESS = re.compile(r"(ocdbt\.process_[^/]+)/manifest\.ocdbt")


class Store(Protocol):
    """Values by key."""

    def __iter__(self) -> Iterator[str]:
        """Yield all keys."""

    def find(self, key: str) -> Span | None:
        """Where a value lies; None where there is none."""

    def path(self, key: str) -> str:
        """Return what to call it in errors."""

    def stored(self) -> int:
        """Bytes of all values together."""


class Folder:
    """Files below a folder."""

    def __init__(self, folder: str, files: Files, names: Iterable[str]) -> None:
        self._folder, self._files = folder, files
        self._keys = [name.removeprefix(folder) for name in names]

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the files, relative to the folder."""
        return iter(self._keys)

    def find(self, key: str) -> Span | None:
        """All of a file."""
        name = self.path(key)
        return self._files.span(name) if name in self._files else None

    def path(self, key: str) -> str:
        """Name of the file."""
        return self._folder + key

    def stored(self) -> int:
        """Sizes of all files; each is opened for it."""
        return sum(self._files.span(self.path(key)).size for key in self._keys)


class Databases:
    """One OCDBT database, or those of several processes that were never merged."""

    def __init__(self, folders: Iterable[str], files: Files, names: Iterable[str]) -> None:
        self._files = files
        self._values: dict[str, tuple[str, Value]] = {}
        listed = list(names)
        for folder in folders:
            for key, value in _read(folder, files, listed).items():
                self._values[key] = (folder, value)

    def __iter__(self) -> Iterator[str]:
        """Yield all keys."""
        return iter(self._values)

    def find(self, key: str) -> Span | None:
        """Where a value lies: in a data file, or at hand."""
        found = self._values.get(key)
        if found is None:
            return None
        folder, value = found
        if isinstance(value, bytes):
            path = folder + MANIFEST
            return Span(InMemory(value, path), 0, len(value), path)
        return _span(folder, self._files, value)

    def path(self, key: str) -> str:
        """Name of the manifest."""
        return self._values[key][0] + MANIFEST

    def stored(self) -> int:
        """Sizes of all values, as the trees tell them."""
        values = (value for _, value in self._values.values())
        return sum(len(v) if isinstance(v, bytes) else v.size for v in values)


def _read(folder: str, files: Files, names: list[str]) -> dict[str, Value]:
    manifest = folder + MANIFEST
    root = read_manifest(files.span(manifest).read(), manifest)
    if root is None:
        numbered = [name for name in names if _NUMBERED.fullmatch(name.removeprefix(folder))]
        if not numbered:
            raise Damaged(manifest, 0, "missing_file", "there is no numbered manifest beside it")
        root = read_manifest(files.span(max(numbered)).read(), max(numbered))
    if root is None:
        raise Damaged(manifest, 0, "bad_manifest", "numbered manifests that hold no version")
    return Database(root, lambda place: _span(folder, files, place)).values


def _span(folder: str, files: Files, place: Reference) -> Span:
    return files.span(folder + place.file.path, place.offset, place.size)


def unmerged(folder: str, names: Iterable[str]) -> Iterator[str]:
    """Folders of the databases that processes wrote, to be merged when all have finished."""
    for name in names:
        if match := _OF_A_PROCESS.fullmatch(name.removeprefix(folder)):
            yield f"{folder}{match[1]}/"
