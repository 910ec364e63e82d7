"""What a listing tells of a remote file, whatever its protocol calls it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_WRITTEN = ("LastModified", "mtime", "modified", "created")


@dataclass(frozen=True, slots=True)
class Listed:
    """A remote file that was listed and not opened.

    Parameters
    ----------
    path : str
        Its name to the filesystem.
    size : int
        Bytes.
    etag : str or None
        What the server calls its content.
    written : str
        When it was written, where nothing else tells that it was written anew.
    """

    path: str
    size: int
    etag: str | None
    written: str


def listed(path: str, info: Mapping[str, Any]) -> Listed:
    """Take the entry of a listing of fsspec.

    Amazon S3 and HTTP call the name of a content ``ETag``, Google Cloud Storage ``etag``; the
    Hugging Face hub has a hash of large files (``lfs``) or a Git object (``blob_id``), which are
    what it answers as ETag too.

    Raises
    ------
    OSError
        The server does not say how large the file is.
    """
    size = info.get("size")
    if size is None:
        raise OSError("the server does not say how large it is")
    lfs = info.get("lfs")
    large = lfs.get("sha256") if isinstance(lfs, Mapping) else getattr(lfs, "sha256", None)
    named = info.get("ETag") or info.get("etag") or large or info.get("blob_id")
    written = next((info[key] for key in _WRITTEN if info.get(key)), "")
    return Listed(path, int(size), str(named).strip('"') if named else None, str(written))
