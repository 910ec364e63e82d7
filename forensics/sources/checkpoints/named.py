"""From what the user typed to checkpoints: a file, a prefix of a bundle, or a folder of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from forensics.errors import NothingToAnalyze
from forensics.sources.checkpoints.checkpoint_format import Claim, Format
from forensics.sources.checkpoints.registry import find_checkpoints
from forensics.sources.storage.locate import is_remote, locate, place_at, shown
from forensics.sources.storage.place import Place

_SOUGHT = (
    "a checkpoint's file (.keras, .weights.h5, .index, .safetensors, ...), the prefix of a tensor "
    "bundle, or a folder of checkpoints"
)


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
        return Named(place, found, folder=True)
    place = place_at(os.path.dirname(text)) if is_remote(text) else place  # noqa: PTH120
    claims = find_checkpoints(_beside(place), place)
    own = tuple((form, claim) for form, claim in claims if name in (claim.name, *claim.files))
    if not own:
        raise NothingToAnalyze(f"{shown(text)}: no checkpoint; name {_SOUGHT}")
    return Named(place, own, folder=False)


def _beside(place: Place) -> Sequence[str]:
    """List the files of a folder itself: below it may lie a whole disk."""
    if place.local is None:
        return place.survey().files
    try:
        with os.scandir(place.local) as entries:
            return sorted(entry.name for entry in entries if not entry.is_dir())
    except OSError:
        return ()
