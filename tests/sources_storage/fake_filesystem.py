"""A filesystem of fsspec with faults planted: what servers do that no test server does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class FakeFilesystem:
    """Files by path, and what happens when one is fetched.

    Parameters
    ----------
    files : dict from str to bytes
        By path, e.g. ``bucket/run/a``.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = dict(files)
        self.requests: list[tuple[str, int, int]] = []
        self.listings = 0
        self.before: Callable[[str], None] = lambda path: None
        """Called before a file is fetched; may raise, or change `files`."""

    def invalidate_cache(self) -> None:
        """There is none."""

    def info(self, path: str) -> dict[str, Any]:
        if path not in self.files:
            raise FileNotFoundError(path)
        content = self.files[path]
        return {"name": path, "size": len(content), "type": "file", "ETag": f'"{hash(content)}"'}

    def find(self, root: str, detail: bool) -> dict[str, dict[str, Any]]:
        assert detail
        self.listings += 1
        return {path: self.info(path) for path in sorted(self.files) if path.startswith(root)}

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        self.requests.append((path, start, end))
        self.before(path)
        return self.files[path][start:end]
