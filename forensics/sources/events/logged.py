"""Values that are no scalars: where they lie, and read again when they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forensics.domain.logged import LoggedKind, LoggedTag, joined_tags
from forensics.domain.run import InputFile, ReadWarning
from forensics.errors import Damaged, InputChanged
from forensics.sources.events.blob_index import BlobIndex
from forensics.sources.events.decoding import Decoding, decode
from forensics.sources.events.hparam_sessions import Written, contents, hparam_tags, rewritten
from forensics.sources.events.kinds import Chosen, choose
from forensics.sources.events.writers import Writer
from forensics.sources.storage.blob import Blob, NotRegular
from forensics.sources.storage.place import Place

_MAX_WARNINGS = 20
"""Damaged values of one file that are listed one by one."""
_PIECE = 1 << 20
_AGAIN = "it is not what it was when the run was read; read the run again"

Stamp = tuple[int, int, int]
"""Inode, size and time of the last change, in ns."""


@dataclass(frozen=True, slots=True, eq=False)
class LoggedFile:
    """One event file as it was when it was read.

    Parameters
    ----------
    writer : str
        Whose it is.
    input : InputFile
        What was read of it.
    blobs : BlobIndex
        Where values lie in it.
    stamp : tuple or None
        What tells whether it changed, None where nothing does.
    """

    writer: str
    input: InputFile
    blobs: BlobIndex
    stamp: Stamp | None = None


def stamp_of(place: Place, name: str) -> Stamp | None:
    """Look at what tells cheaply whether a local file changed; None where that is impossible."""
    path = place.path(name)
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def logged_files(place: Place, writers: Iterable[Writer]) -> LoggedFiles:
    """Where to find again what is no scalar: of the files that hold any such thing."""
    found = [
        LoggedFile(writer.name, file.input, file.blobs, stamp_of(place, file.input.path))
        for writer in writers
        for file in writer.files
        if file.blobs.tags
    ]
    return LoggedFiles(place, tuple(found))


@dataclass(frozen=True, slots=True, eq=False)
class LoggedFiles:
    """The event files of a run, in the order in which they were begun; none is kept open.

    Parameters
    ----------
    place : Place
        Where they lie.
    files : tuple of LoggedFile
    """

    place: Place
    files: tuple[LoggedFile, ...]

    def read(self, kind: LoggedKind) -> tuple[tuple[LoggedTag, ...], tuple[ReadWarning, ...]]:
        """Decode all values of a kind, by writer and tag.

        Raises
        ------
        InputChanged
            A file is gone, or is not what it was when the run was read.
        """
        found: dict[tuple[str, str], list[LoggedTag]] = {}
        warnings: list[ReadWarning] = []
        plugins = {} if kind is LoggedKind.HPARAMS else self._plugins()
        opened: list[str] = []
        for file in self.files:
            if kind is LoggedKind.HPARAMS:
                several = self._hparams_again(file)
                parts, faults = hparam_tags(file.writer, file.input.path, file.blobs, several)
                warnings += faults
                opened += [file.input.path] if several else []
            else:
                chosen = choose(file.blobs, kind, plugins)
                parts = list(self._decode(file, chosen, kind, warnings)) if chosen else []
                opened += [file.input.path] if chosen else []
            for part in parts:
                found.setdefault((part.writer, part.tag), []).append(part)
        self._still_the_same(opened)
        return tuple(joined_tags(found[key]) for key in sorted(found)), tuple(warnings)

    def _still_the_same(self, opened: Sequence[str]) -> None:
        """Ask a remote place once, after everything was read: its files cannot tell themselves."""
        if opened and self.place.local is None:
            changed = self.place.changed().intersection(opened)
            for name in sorted(changed):
                raise InputChanged(f"{name}: {_AGAIN}")

    def _hparams_again(self, file: LoggedFile) -> Mapping[str, Sequence[Written]]:
        """Contents of hyperparameters that were logged more than once; else nothing is opened."""
        tags = rewritten(file.blobs)
        if not tags:
            return {}
        with self._opened(file) as blob:
            return {tag: contents(blob, where) for tag, where in tags}

    def _plugins(self) -> Mapping[str, str]:
        """Plugin of each tag; the first file of a tag may be the one that was damaged."""
        return {tag: plugin for file in self.files for (tag, _), plugin in file.blobs.plugins()}

    def _decode(
        self,
        file: LoggedFile,
        chosen: list[Chosen],
        kind: LoggedKind,
        warnings: list[ReadWarning],
    ) -> Iterator[LoggedTag]:
        with self._opened(file) as blob:
            decoding = decode(blob, chosen, kind)
        warnings += _warnings(file.input.path, chosen, decoding)
        parts: dict[str, list[tuple[LoggedTag, npt.NDArray[np.int64]]]] = {}
        for item, (places, columns) in zip(chosen, decoding.parts, strict=True):
            if len(places):
                steps, times = item.where.steps[places], item.where.wall_times[places]
                part = LoggedTag(file.writer, item.tag, steps, times, columns)
                parts.setdefault(item.tag, []).append((part, item.where.offsets[places]))
        for several in parts.values():
            joined = joined_tags([part for part, _ in several])
            if len(several) > 1:
                # A tag that changes its format: in the order in which the values were written.
                offsets = np.concatenate([offsets for _, offsets in several])
                joined = joined.take(np.argsort(offsets, kind="stable"))
            yield joined

    @contextmanager
    def _opened(self, file: LoggedFile) -> Iterator[Blob]:
        name = file.input.path
        try:
            with self.place.open(name) as blob:
                _verify(blob, file, stamp_of(self.place, name))
                yield blob
        except FileNotFoundError:
            raise InputChanged(f"{name}: this file is gone since the run was read") from None
        except (OSError, NotRegular) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise InputChanged(f"{name}: this file cannot be read any more: {why}") from None
        except Damaged as error:
            raise InputChanged(f"{name}: {_AGAIN} ({error.detail})") from None


def _verify(blob: Blob, file: LoggedFile, stamp: Stamp | None) -> None:
    """Make sure that the values are still where they were: a file may have grown since."""
    if blob.size < file.input.bytes:
        raise Damaged(blob.name, blob.size, "truncated", "it is shorter")
    known = stamp is not None and stamp == file.stamp and blob.size == file.input.bytes
    if known or file.input.sha256 is None:
        return
    digest = hashlib.sha256()
    for offset in range(0, file.input.bytes, _PIECE):
        digest.update(blob.read(offset, min(_PIECE, file.input.bytes - offset)))
    if digest.hexdigest() != file.input.sha256:
        raise Damaged(blob.name, 0, "changed", "it holds something else")


def _warnings(path: str, chosen: list[Chosen], decoding: Decoding) -> Iterator[ReadWarning]:
    for item, at, error in decoding.faults[:_MAX_WARNINGS]:
        where = chosen[item].where
        detail = (
            f"a value of {chosen[item].tag!r} at step {int(where.steps[at])} was left out: "
            f"{error.detail}"
        )
        yield ReadWarning(path, int(where.offsets[at]) + error.offset, error.kind, detail)
    rest = len(decoding.faults) - _MAX_WARNINGS
    if rest > 0:
        _, _, error = decoding.faults[_MAX_WARNINGS]
        yield ReadWarning(path, None, error.kind, f"{rest} more values were left out")
