"""From what the user typed to checkpoints: a file, a prefix of a bundle, or a folder of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from forensics.errors import NothingToAnalyze
from forensics.sources.checkpoints.checkpoint_format import Claim, Format
from forensics.sources.checkpoints.registry import find_checkpoints
from forensics.sources.storage.locate import is_remote, locate, place_at, shown
from forensics.sources.storage.place import Directory, Place

_SOUGHT = (
    "a checkpoint's file (.keras, .weights.h5, .index, .safetensors, ...), the prefix of a tensor "
    "bundle, or a folder of checkpoints"
)
_OF_A_FOLDER = frozenset({"saved_model.pb", "_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt"})
"""Files of a checkpoint that has others in folders below."""


@dataclass(frozen=True, slots=True)
class Named:
    """Checkpoints that a path names, and whether it names a folder."""

    place: Place
    claims: tuple[tuple[Format, Claim], ...]
    folder: bool


def named_checkpoints(path: str | os.PathLike[str]) -> Named:
    """Find what a path or URL names; nothing but names is read where these tell enough.

    Raises
    ------
    NothingToAnalyze
        There is no checkpoint of this name, or none in the folder.
    UsageError
        It is a URL that cannot be read.
    """
    text = os.fspath(path)
    try:
        place, name = locate(text)
    except NothingToAnalyze:
        # The prefix of a bundle is the name of no file.
        place, name = place_at(os.path.dirname(text) or "."), os.path.basename(text)  # noqa: PTH119, PTH120
    if name is None:
        found = tuple(find_checkpoints(place.survey().files, place))
        if not found:
            raise NothingToAnalyze(f"{shown(text)}: no checkpoint below this folder")
        return _by_its_name(Named(place, found, folder=True))
    place = place_at(os.path.dirname(text)) if is_remote(text) else place  # noqa: PTH120
    whole = name in _OF_A_FOLDER
    claims = find_checkpoints(place.survey().files if whole else _beside(place), place)
    own = tuple((form, claim) for form, claim in claims if name in (claim.name, *claim.files))
    if not own:
        raise NothingToAnalyze(f"{shown(text)}: no checkpoint; name {_SOUGHT}")
    named = Named(place, own, folder=False)
    return _by_its_name(named) if whole else named


def _by_its_name(named: Named) -> Named:
    """Look at a folder that is a checkpoint from the one that it is in: its name may be a step."""
    root = named.place.local
    if root is None or len(named.claims) != 1 or root.name in ("", ".."):
        return named
    ((_, claim),) = named.claims
    known = all(named.place.path(file) == root / file for file in claim.files)
    if not known or not root.name.isprintable():
        return named  # A name that is no text is found by a survey alone.
    above = Directory(root.parent)
    claims = tuple(find_checkpoints([f"{root.name}/{file}" for file in claim.files], above))
    if [found.name for _, found in claims] != [root.name]:
        return named
    return Named(above, claims, folder=True)


def _beside(place: Place) -> Sequence[str]:
    """List the files of a folder itself: below it may lie a whole disk."""
    if place.local is None:
        return place.survey().files
    try:
        with os.scandir(place.local) as entries:
            return sorted(entry.name for entry in entries if not entry.is_dir())
    except OSError:
        return ()
