"""What lies below a log directory: found by name, nothing is opened."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from forensics.domain.run import ReadWarning

_MAX_DEPTH = 64
_DIGITS = re.compile(r"(\d+)")
_CHECKPOINT = (".index", ".keras", ".h5", ".hdf5", ".weights.json")


@dataclass(slots=True)
class Tree:
    """Files below a directory, as POSIX paths relative to it.

    Attributes
    ----------
    events : list of str
        Event files, in the order in which they were begun.
    checkpoints : list of str
        What is named like a checkpoint.
    others : list of str
        The rest.
    warnings : list of ReadWarning
        Directories that cannot be read.
    """

    events: list[str] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    warnings: list[ReadWarning] = field(default_factory=list)

    @property
    def files(self) -> list[str]:
        """All of them, whatever they are."""
        return [*self.events, *self.checkpoints, *self.others]


def natural(path: str) -> tuple[tuple[bool, int, str], ...]:
    """Key that orders names by the numbers in them: event files carry the time they were begun."""
    return tuple(
        (part.isdecimal(), int(part) if part.isdecimal() else 0, part)
        for part in _DIGITS.split(path)
    )


def is_event_file(name: str) -> bool:
    """Whether a file is named like an event file (TensorBoard's rule)."""
    return "tfevents" in name


def survey(root: Path) -> Tree:
    """List what lies below `root`.

    Symbolic links are followed after everything else was seen, each directory and file is listed
    once, and so loops end.
    """
    walk = _Walk()
    walk.folders.append((root, ".", 0))
    while walk.folders or walk.linked_folders:
        folder, name, depth = (walk.folders or walk.linked_folders).pop()
        try:
            walk.enter(folder, name, depth)
        except OSError as error:
            why = f"this directory cannot be read: {error.strerror or type(error).__name__}"
            walk.tree.warnings.append(ReadWarning(name, None, "denied", why))
    for entry, path in walk.linked_files:
        walk.add_events(entry, path)
    for paths in (walk.tree.events, walk.tree.checkpoints, walk.tree.others):
        paths.sort(key=natural)
    return walk.tree


@dataclass(slots=True)
class _Walk:
    """Progress of a survey: what was seen (by device and inode), and what is to be entered."""

    tree: Tree = field(default_factory=Tree)
    seen: set[tuple[int, int]] = field(default_factory=set)
    folders: list[tuple[Path, str, int]] = field(default_factory=list)
    linked_folders: list[tuple[Path, str, int]] = field(default_factory=list)
    linked_files: list[tuple[os.DirEntry[str], str]] = field(default_factory=list)

    def enter(self, folder: Path, name: str, depth: int) -> None:
        """List one directory."""
        if not self._is_new(folder.stat()):
            return
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            path = entry.name if name == "." else f"{name}/{entry.name}"
            if not _is_folder(entry):
                self._file(entry, path)
            elif depth >= _MAX_DEPTH:
                why = f"directories more than {_MAX_DEPTH} deep were not entered"
                self.tree.warnings.append(ReadWarning(path, None, "limit", why))
            else:
                target = self.linked_folders if entry.is_symlink() else self.folders
                target.append((folder / entry.name, path, depth + 1))

    def _file(self, entry: os.DirEntry[str], path: str) -> None:
        if not is_event_file(entry.name):
            named = entry.name.lower().endswith(_CHECKPOINT)
            (self.tree.checkpoints if named else self.tree.others).append(path)
        elif entry.is_symlink():
            self.linked_files.append((entry, path))
        else:
            self.add_events(entry, path)

    def add_events(self, entry: os.DirEntry[str], path: str) -> None:
        """List an event file, unless it was met under another name."""
        try:
            new = self._is_new(entry.stat())
        except OSError:
            # A dangling link or a loop of links: reading it will say so.
            new = True
        if new:
            self.tree.events.append(path)

    def _is_new(self, status: os.stat_result) -> bool:
        key = (status.st_dev, status.st_ino)
        if key in self.seen:
            return False
        self.seen.add(key)
        return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
