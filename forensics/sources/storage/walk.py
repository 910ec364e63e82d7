"""What lies below a directory on a disk: one pass, whatever is in its way."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from forensics.domain.run import ReadWarning
from forensics.sources.storage.tree import is_event_file

MAX_DEPTH = 64
MAX_FILES = 1_000_000
"""Files that are listed: more are no log directory, and their names alone take a gigabyte."""


@dataclass(frozen=True, slots=True)
class _Folder:
    """A directory to be entered; ``linked`` where a symbolic link led to it or above it."""

    path: str
    depth: int
    linked: bool = False


@dataclass(slots=True)
class Walk:
    """Files below a root, as POSIX paths relative to it, and what was not entered.

    Symbolic links are followed after everything else was seen, each directory and event file is
    listed once, and so loops end. What no link leads to is what it seems, whatever its inode: some
    network filesystems give one to several files.

    Parameters
    ----------
    root : str
        Where to begin.
    """

    root: str
    files: list[str] = field(default_factory=list)
    warnings: list[ReadWarning] = field(default_factory=list)
    _seen: set[tuple[int, int]] = field(default_factory=set)
    _folders: list[_Folder] = field(default_factory=list)
    _linked_folders: list[_Folder] = field(default_factory=list)
    _linked_files: list[str] = field(default_factory=list)

    def run(self) -> None:
        """List everything."""
        self._folders.append(_Folder("", 0))
        while self._folders or self._linked_folders:
            folder = (self._folders or self._linked_folders).pop()
            if len(self.files) >= MAX_FILES:
                why = f"more than {MAX_FILES} files; this directory and others were not listed"
                self._warn(folder.path, "limit", why)
                break
            try:
                self._enter(folder)
            except OSError as error:
                why = f"this directory cannot be read: {error.strerror or type(error).__name__}"
                self._warn(folder.path, "denied", why)
        for path in self._linked_files:
            self._add_events(path, linked=True)

    def _warn(self, folder: str, kind: str, why: str) -> None:
        self.warnings.append(ReadWarning(folder or ".", None, kind, why))

    def _enter(self, folder: _Folder) -> None:
        place = f"{self.root}/{folder.path}" if folder.path else self.root
        if not self._is_new(os.stat(place)) and folder.linked:  # noqa: PTH116
            return
        with os.scandir(place) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        below: list[_Folder] = []
        for entry in found:
            path = f"{folder.path}/{entry.name}" if folder.path else entry.name
            if not _is_folder(entry):
                self._file(entry, path, folder.linked)
            elif folder.depth >= MAX_DEPTH:
                why = f"directories more than {MAX_DEPTH} deep were not entered"
                self._warn(path, "limit", why)
            elif entry.is_symlink():
                self._linked_folders.append(_Folder(path, folder.depth + 1, linked=True))
            else:
                below.append(_Folder(path, folder.depth + 1, folder.linked))
        self._folders.extend(reversed(below))

    def _file(self, entry: os.DirEntry[str], path: str, linked: bool) -> None:
        if not is_event_file(entry.name):
            self.files.append(path)
        elif entry.is_symlink():
            self._linked_files.append(path)
        else:
            self._add_events(path, linked)

    def _add_events(self, path: str, linked: bool) -> None:
        """List an event file, unless it was met under another name: each would count twice."""
        try:
            status = os.stat(f"{self.root}/{path}")  # noqa: PTH116 - a Path takes far longer
        except OSError:
            # A dangling link or a loop of links: reading it will say so.
            self.files.append(path)
            return
        if self._is_new(status) or not (linked or status.st_nlink > 1):
            self.files.append(path)

    def _is_new(self, status: os.stat_result) -> bool:
        key = (status.st_dev, status.st_ino)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
