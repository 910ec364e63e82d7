"""From what the user typed to the place where the files lie."""

from __future__ import annotations

import os
from pathlib import Path

from forensics.errors import NothingToAnalyze, UsageError
from forensics.sources.storage.filesystems import open_filesystem, split_url
from forensics.sources.storage.place import Directory, Place
from forensics.sources.storage.remote_errors import reason


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URL of something that is not on a local disk.

    Raises
    ------
    UsageError
        It is a URL of a scheme that is not read.
    """
    text = os.fspath(path)
    url = _url(text)
    return url is not None and url[0] != "file"


def shown(path: str | os.PathLike[str]) -> str:
    """Path or URL as it may be shown: without the query of a signed URL."""
    text = os.fspath(path)
    url = _url(text)
    return text if url is None else _label(*url)


def place_at(root: str | os.PathLike[str]) -> Place:
    """Place with a root that is known to be a directory, e.g. that of a `Run`."""
    text = os.fspath(root)
    url = _url(text)
    if url is None:
        return Directory(text)
    scheme, rest = url
    if scheme == "file":
        return Directory(_local(rest))
    from forensics.sources.storage.object_store import ObjectStore

    filesystem = open_filesystem(scheme)
    return ObjectStore(filesystem, _path(filesystem, scheme, rest), _label(scheme, rest))


def locate(path: str | os.PathLike[str]) -> tuple[Place, str | None]:
    """Place that a path or URL names, and the name in it where it is that of a file.

    Raises
    ------
    NothingToAnalyze
        There is nothing of this name.
    UsageError
        It is a URL that cannot be read.
    """
    text = os.fspath(path)
    url = _url(text)
    if url is None:
        # a folder called "~" comes before the home
        home = text if os.path.lexists(text) else os.path.expanduser(text)  # noqa: PTH111
        return _on_disk(home)
    scheme, rest = url
    return locate(_local(rest)) if scheme == "file" else _remote(scheme, rest)


def _url(text: str) -> tuple[str, str] | None:
    """Scheme and rest of a URL; what exists is a path, whatever it looks like."""
    return None if os.path.lexists(text) else split_url(text)


def _on_disk(path: str) -> tuple[Place, str | None]:
    try:
        # exists() would say no to a directory that may not be looked at
        os.lstat(path)
        folder = Path(path).is_dir()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise NothingToAnalyze(f"{path}: there is no such file or directory") from None
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise NothingToAnalyze(f"{path}: cannot be read: {why}") from None
    if folder:
        return Directory(path), None
    return Directory(Path(path).parent), Path(path).name


def _remote(scheme: str, rest: str) -> tuple[Place, str | None]:
    from forensics.sources.storage.object_store import ObjectStore

    filesystem = open_filesystem(scheme)
    label, path = _label(scheme, rest), _path(filesystem, scheme, rest)
    try:
        info = filesystem.info(path)
    except FileNotFoundError as error:
        why = "there is no such file, folder or bucket"
        if scheme in ("http", "https") and error.__cause__ is not None:
            # it says so of everything that goes wrong
            why = reason(error.__cause__)
        raise NothingToAnalyze(f"{label}: {why}") from None
    except Exception as error:
        raise UsageError(f"{label}: cannot be read: {reason(error)}") from None
    # an empty object may stand for a folder
    if info["type"] == "directory" or (rest.endswith("/") and not info.get("size")):
        return ObjectStore(filesystem, path, label), None
    folder, _, name = label.rpartition("/")
    return ObjectStore(filesystem, path, folder, (name, path)), name


def _path(filesystem: object, scheme: str, rest: str) -> str:
    path: str = filesystem._strip_protocol(f"{scheme}://{rest}")  # type: ignore[attr-defined]
    return path


def _label(scheme: str, rest: str) -> str:
    """URL as it may be shown: a query holds signatures, what comes before a host passwords."""
    host, slash, path = rest.partition("/")
    if scheme in ("http", "https"):
        host, path = host.rpartition("@")[2], path.partition("?")[0].partition("#")[0]
    elif "@" in host:
        raise UsageError(f"{scheme}://: a URL is no place for credentials, the environment is")
    rest = host + slash + path
    return f"{scheme}://{rest.rstrip('/')}"


def _local(rest: str) -> str:
    return f"/{rest.lstrip('/')}"
