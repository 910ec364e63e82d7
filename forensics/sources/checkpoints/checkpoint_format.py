"""What every format of checkpoints offers: to find its checkpoints by name, and to open one.

`Format.find` looks at the names of a place and claims files; `Format.fill` opens the files of a
claim and lists the tensors in them as `StoredTensor`s, before any is read. Statistics, differences
and the bounds on memory are made from these, in one place for all formats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from forensics.domain.run import CheckpointFormat, InputFile, InputState
from forensics.sources.checkpoints.contents import Contents
from forensics.sources.checkpoints.stored_tensor import StoredTensor
from forensics.sources.storage.blob import Blob, NotRegular
from forensics.sources.storage.place import Place

_LARGE = 64 << 20
"""Bytes from which a thread is worth it."""


class NotACheckpoint(Exception):
    """The file is something else under a name that checkpoints have too."""


class Unopened(Exception):
    """A file of a checkpoint cannot be opened; ``cause`` says why."""

    def __init__(self, name: str, kind: str, cause: OSError | NotRegular) -> None:
        super().__init__(name)
        self.name, self.kind, self.cause = name, kind, cause


@dataclass(frozen=True, slots=True)
class Claim:
    """Files that are one checkpoint.

    Parameters
    ----------
    name : str
        What the checkpoint is called: its file, or the prefix or folder of its files.
    format : CheckpointFormat
        How it is stored.
    files : tuple of str
        All its files that are there, relative to the place. No other format is offered these.
    """

    name: str
    format: CheckpointFormat
    files: tuple[str, ...]


class OpenCheckpoint:
    """A checkpoint whose tensors are listed and not read; closing it records its files.

    Attributes
    ----------
    place, claim
        Where it lies, and what was claimed.
    stored : list of StoredTensor
        In the order of the report. Read them only while it is open.
    contents : Contents
        Warnings, counters, settings; statistics are added by who reads `stored`.
    judge : callable
        Called with `contents` when the statistics are in it: says what the tensors are for (until
        then all are weights) and finds counters and settings among them.
    parallel : bool
        Whether several threads may read tensors of it at the same time.
    """

    def __init__(self, place: Place, claim: Claim) -> None:
        self.place, self.claim = place, claim
        self.stored: list[StoredTensor] = []
        self.contents = Contents()
        self.judge: Callable[[Contents], None] = _nothing
        self.parallel = False
        self._open: list[tuple[Blob, str]] = []
        self.stack = ExitStack()

    def blob(self, name: str, kind: str) -> Blob:
        """Open one of its files, to be recorded as an input of this kind and closed with it.

        Raises
        ------
        Unopened
            It cannot be.
        """
        try:
            blob = self.stack.enter_context(self.place.open(name))
        except (OSError, NotRegular) as error:
            raise Unopened(name, kind, error) from error
        self._open.append((blob, kind))
        return blob

    @property
    def blobs(self) -> list[Blob]:
        """Its files that are open."""
        return [blob for blob, _ in self._open]

    def __enter__(self) -> OpenCheckpoint:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stack.close()

    @contextmanager
    def hashed_beside(self) -> Iterator[None]:
        """Hash its large local files in a thread of its own while its tensors are read."""
        large = [b for b in self.blobs if b.descriptor is not None and b.size > _LARGE]
        if not large:
            yield
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            digests = [pool.submit(blob.sha256) for blob in large]
            yield
            for digest in digests:
                digest.exception()  # Recording the file meets it again, and says so.

    def record(self) -> None:
        """Record its files as inputs, once everything that could fail has been read."""
        for blob, kind in self._open:
            self.contents.inputs.append(self._recorded(blob, kind))

    def _recorded(self, blob: Blob, kind: str) -> InputFile:
        try:
            return blob.record(kind, self.contents.state_of(blob.name))
        except OSError as error:
            self.contents.lose(blob.name, "read_error", f"it cannot be read again: {error}")
            return InputFile(blob.name, kind, blob.size, None, InputState.DAMAGED)


def _nothing(_: Contents) -> None:
    """Leave everything as it is."""


class Format(Protocol):
    """One format of checkpoints."""

    def find(self, names: Sequence[str], place: Place) -> Iterable[Claim]:
        """Claim the checkpoints of this format.

        Parameters
        ----------
        names : sequence of str
            Files of the place, sorted, that no format before this one has claimed.
        place : Place
            To look into a file whose name does not tell enough. What cannot be opened is claimed:
            `fill` will say why.
        """

    def fill(self, checkpoint: OpenCheckpoint) -> None:
        """Open the files of a claim and list their tensors.

        What is broken but does not end it goes to ``checkpoint.contents``.

        Raises
        ------
        NotACheckpoint
            It is something else, and nobody needs to know.
        Damaged
            It cannot be read any further. What was listed before is read.
        Unopened, OSError
            The file without which there is nothing cannot be opened, or read.
        """
