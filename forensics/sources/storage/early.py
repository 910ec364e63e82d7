"""Beginnings of the files that will be opened next: fetched before they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

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
        From a name to the first bytes of the file.
    """

    def __init__(self, threads: ThreadPoolExecutor, fetch: Callable[[str], bytes]) -> None:
        self._threads, self._fetch = threads, fetch
        self._waiting: deque[str] = deque()
        self._asked: dict[str, Future[bytes]] = {}
        self._lock = Lock()

    def expect(self, names: Iterable[str]) -> None:
        """Fetch these from now on, in this order, instead of what was expected before."""
        with self._lock:
            for left in self._asked.values():
                left.cancel()
            self._asked.clear()
            self._waiting = deque(names)
            self._go_on()

    def take(self, name: str) -> Future[bytes] | None:
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
                self._asked[name] = self._threads.submit(self._fetch, name)
