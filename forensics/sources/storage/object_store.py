"""Files in a bucket, or wherever else fsspec reaches: listed once, fetched by range."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from forensics.errors import UsageError
from forensics.sources.storage import read_ahead
from forensics.sources.storage.blob import Blob
from forensics.sources.storage.early import Early
from forensics.sources.storage.listing import Listed, listed
from forensics.sources.storage.read_ahead import Fetch, ReadAhead
from forensics.sources.storage.remote_errors import as_os_error, reason
from forensics.sources.storage.remote_file import RemoteFile
from forensics.sources.storage.tree import Tree, tree_of

LANES = 16
"""Requests that are under way at once."""


class ObjectStore:
    """Place in a bucket.

    Parameters
    ----------
    filesystem : AbstractFileSystem of fsspec
        Must not answer listings from a cache.
    root : str
        What the filesystem calls the root.
    label : str
        What the user calls it, without secrets.
    file : tuple of (str, str), optional
        Name and path of the only file, where the place is that of one.
    """

    def __init__(
        self, filesystem: Any, root: str, label: str, file: tuple[str, str] | None = None
    ) -> None:
        self.local: Path | None = None
        self.label = label
        self._filesystem, self._root, self._file = filesystem, root.rstrip("/"), file
        self._listed: dict[str, Listed] | None = None
        self._threads = ThreadPoolExecutor(LANES, thread_name_prefix="fetch")
        self._early = Early(self._threads, self._fetch_beginning)

    def survey(self) -> Tree:
        """List all files below the root.

        Raises
        ------
        UsageError
            The listing fails: nothing at all is known then.
        """
        return tree_of(self._known())

    def changed(self) -> frozenset[str]:
        """Names of files that were written anew, or have gone, since the survey.

        One more listing tells, which costs a request per thousand files. Where it fails, any of
        them may have changed.
        """
        before = self._listed or {}
        try:
            now = self._list() if before else {}
        except UsageError:
            now = {}
        return frozenset(name for name, file in before.items() if now.get(name) != file)

    def path(self, name: str) -> Path | None:
        """Return None: it lies on no disk."""
        return None

    def expect(self, names: Iterable[str], beginning: int | None = None) -> None:
        """Fetch the beginnings of files that will be opened soon, in this order."""
        block = read_ahead.BLOCK
        self._early.expect(names, block if beginning is None else min(beginning, block))

    def open(self, name: str) -> Blob:
        """Open a file; nothing is fetched unless it was expected."""
        file = self._find(name)
        blocks = ReadAhead(self._fetcher(file), file.size, self._threads, self._early.take(name))
        return RemoteFile(name, file.size, file.etag, blocks)

    def _find(self, name: str) -> Listed:
        """Return what is known of a file: of one that was listed, without a request."""
        if self._listed is None and self._file is None:
            return self._look(f"{self._root}/{name}")
        try:
            return self._known()[name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "there is nothing of this name") from None

    def _known(self) -> dict[str, Listed]:
        if self._listed is None:
            self._listed = self._list()
        return self._listed

    def _list(self) -> dict[str, Listed]:
        try:
            self._filesystem.invalidate_cache()
            if self._file is not None:
                name, path = self._file
                return {name: listed(path, self._filesystem.info(path))}
            start = f"{self._root}/"
            # a name that ends in a slash stands for a folder
            return {
                path[len(start) :]: listed(path, info)
                for path, info in self._filesystem.find(self._root, detail=True).items()
                if path.startswith(start) and not path.endswith("/")
            }
        except Exception as error:
            # every protocol has errors of its own, and they have no class in common
            raise UsageError(f"{self.label}: cannot be listed: {reason(error)}") from None

    def _look(self, path: str) -> Listed:
        try:
            return listed(path, self._filesystem.info(path))
        except Exception as error:
            raise as_os_error(error) from None

    def _fetch_beginning(self, name: str, count: int) -> bytes:
        file = self._find(name)
        return self._fetcher(file)(0, min(count, file.size)) if file.size else b""

    def _fetcher(self, file: Listed) -> Fetch:
        def fetch(start: int, count: int) -> bytes:
            try:
                data: bytes = self._filesystem.cat_file(file.path, start=start, end=start + count)
            except OSError as error:
                if error.errno != errno.EINVAL or self._filesystem.info(file.path)["size"] > start:
                    raise
                # a range that the file no longer has
                return b""
            # a server that knows no ranges answers with the whole file
            return data if len(data) <= count else data[start : start + count]

        return fetch
