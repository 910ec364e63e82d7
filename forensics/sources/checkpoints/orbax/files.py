"""Files of one checkpoint, of which there may be thousands: few are open at the same time."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable

from forensics.domain.run import InputFile, InputState
from forensics.errors import Damaged
from forensics.sources.checkpoints.orbax.span import Span
from forensics.sources.storage.blob import IN_MEMORY, Blob, NotRegular
from forensics.sources.storage.place import Place

_MOST_OPEN = 64
_MOST_HELD = 2 * IN_MEMORY
"""Bytes: what is not on a disk may be held as a whole."""


class Files:
    """Opens files of a place by name, and closes those that were not used for longest.

    Parameters
    ----------
    place : Place
        Where they lie.
    names : iterable of str
        Those that may be opened.

    Attributes
    ----------
    used : dict of str to int
        Sizes of the files that were opened.
    """

    def __init__(self, place: Place, names: Iterable[str]) -> None:
        self.used: dict[str, int] = {}
        self._place, self._names = place, frozenset(names)
        self._open: OrderedDict[str, Blob] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def span(self, name: str, first: int = 0, size: int | None = None) -> Span:
        """Return a part of a file, or all of it.

        Raises
        ------
        Damaged
            ``missing_file``: there is none; ``out_of_range``: it is smaller;
            ``denied``, ``not_regular``: it cannot be opened.
        """
        blob = self._blob(name)
        last = blob.size if size is None else first + size
        if last > blob.size:
            detail = f"{last - first} bytes at {first} are promised, the file has {blob.size}"
            raise Damaged(name, min(first, blob.size), "out_of_range", detail)
        return Span(_Part(self, name), first, last - first, name)

    def read(self, name: str, offset: int, count: int) -> memoryview:
        """Return `count` bytes from `offset` of a file."""
        blob = self._blob(name)
        if blob.descriptor is None:
            return blob.read(offset, count)
        data = os.pread(blob.descriptor, count, offset)
        if len(data) != count:
            raise Damaged(name, offset + len(data), "truncated", "the file ends within a value")
        return memoryview(data)

    def record(self, name: str, kind: str, state: InputState) -> InputFile:
        """Record of a file as an input; it is read again for its digest."""
        try:
            return self._blob(name).record(kind, state)
        except (Damaged, OSError):
            return InputFile(name, kind, self.used.get(name, 0), None, InputState.DENIED)

    def close(self) -> None:
        """Close all of them."""
        while self._open:
            self._open.popitem()[1].close()

    def _blob(self, name: str) -> Blob:
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        if name not in self._names:
            raise Damaged(name, 0, "missing_file", "this file is not there")
        try:
            blob = self._place.open(name)
        except NotRegular:
            raise Damaged(name, 0, "not_regular", "this is no regular file") from None
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise Damaged(name, 0, "denied", f"it cannot be read: {why}") from None
        self._open[name] = blob
        self.used[name] = blob.size
        self._make_room()
        return blob

    def _make_room(self) -> None:
        held = sum(min(b.size, IN_MEMORY) for b in self._open.values() if b.descriptor is None)
        while len(self._open) > 1 and (len(self._open) > _MOST_OPEN or held > _MOST_HELD):
            blob = self._open.popitem(last=False)[1]
            held -= min(blob.size, IN_MEMORY) if blob.descriptor is None else 0
            blob.close()


class _Part:
    """One of the files, to be read by offset whether it is open or not."""

    def __init__(self, files: Files, name: str) -> None:
        self._files, self._name = files, name

    def read(self, offset: int, count: int) -> memoryview:
        return self._files.read(self._name, offset, count)
