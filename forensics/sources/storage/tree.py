"""What lies below a root: told apart by name, nothing is opened."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from forensics.domain.run import ReadWarning

_DIGITS = re.compile(r"(\d+)")
_CHECKPOINT = (".index", ".keras", ".h5", ".hdf5", ".weights.json")


@dataclass(slots=True)
class Tree:
    """Files below a root, as POSIX paths relative to it.

    Attributes
    ----------
    events : list of str
        Event files, in the order in which they were begun.
    checkpoints : list of str
        What is named like a checkpoint.
    others : list of str
        The rest.
    warnings : list of ReadWarning
        Directories that cannot be read, and limits.
    """

    events: list[str] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    warnings: list[ReadWarning] = field(default_factory=list)

    @property
    def files(self) -> list[str]:
        """All of them, whatever they are."""
        return [*self.events, *self.checkpoints, *self.others]


def natural(path: str) -> tuple[list[str | int], str]:
    """Key that orders names by the numbers in them: event files carry the time they were begun."""
    parts: list[str | int] = list(_DIGITS.split(path))
    # texts and numbers take turns, so that like is compared with like
    parts[1::2] = map(int, parts[1::2])
    return parts, path


def is_event_file(name: str) -> bool:
    """Whether a file is named like an event file (TensorBoard's rule)."""
    return "tfevents" in name


def tree_of(paths: Iterable[str], warnings: Iterable[ReadWarning] = ()) -> Tree:
    """Tell files apart by their names.

    Parameters
    ----------
    paths : iterable of str
        POSIX form, relative to the root.
    warnings : iterable of ReadWarning
        What kept others from being listed.
    """
    tree = Tree(warnings=list(warnings))
    for path in paths:
        if "tfevents" in path and is_event_file(path.rpartition("/")[2]):
            tree.events.append(path)
        elif path.lower().endswith(_CHECKPOINT):
            tree.checkpoints.append(path)
        else:
            tree.others.append(path)
    tree.events.sort(key=natural)
    tree.checkpoints.sort(key=natural)
    tree.others.sort()
    return tree
