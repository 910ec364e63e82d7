"""Beginnings of the files that will be opened next: fetched before they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from forensics.sources.storage.read_ahead import Beginning

HELD = 32
"""Beginnings that are held, or under way, at most."""


class Early:
    """Keeps requests under way while what has come is being read.

    Thousands of small files are read one after the other, and yet nobody waits for each.

    Parameters
    ----------
    threads : ThreadPoolExecutor
        Where requests wait.
    fetch : callable
        From a name and a count to as many first bytes of the file, if there are as many.
    """

    def __init__(self, threads: ThreadPoolExecutor, fetch: Callable[[str, int], bytes]) -> None:
        self._threads, self._fetch = threads, fetch
        self._waiting: deque[str] = deque()
        self._count = 0
        self._asked: dict[str, Beginning] = {}
        self._lock = Lock()

    def expect(self, names: Iterable[str], count: int) -> None:
        """Fetch `count` bytes of each of these, in this order, instead of what was expected."""
        with self._lock:
            for left in self._asked.values():
                left.content.cancel()
            self._asked.clear()
            self._waiting, self._count = deque(names), count
            self._go_on()

    def take(self, name: str) -> Beginning | None:
        """Hand out what was fetched of a file, None where it was not expected."""
        with self._lock:
            found = self._asked.pop(name, None)
            if found is not None:
                self._go_on()
            return found

    def _go_on(self) -> None:
        while self._waiting and len(self._asked) < HELD:
            name = self._waiting.popleft()
            if name not in self._asked:
                content = self._threads.submit(self._fetch, name, self._count)
                self._asked[name] = Beginning(content, self._count)
