"""Beginnings of the files that will be opened next: fetched before they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from forensics.sources.storage.read_ahead import Beginning

HELD = 32
"""Beginnings that are held, or under way, at most."""
SKIPPED = 8
"""Places in the order after which a file that was not opened is not waited for any longer."""


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
        self._order: dict[str, int] = {}
        self._names: list[str] = []
        self._next = self._count = 0
        self._asked: dict[str, Beginning] = {}
        self._lock = Lock()

    def expect(self, names: Iterable[str], count: int) -> None:
        """Fetch `count` bytes of each of these, in this order, instead of what was expected."""
        with self._lock:
            self._forget(list(self._asked))
            self._names = list(dict.fromkeys(names))
            self._order = {name: place for place, name in enumerate(self._names)}
            self._next, self._count = 0, count
            self._go_on()

    def take(self, name: str) -> Beginning | None:
        """Hand out what was fetched of a file, None where it was not expected, or not so soon."""
        with self._lock:
            place = self._order.get(name)
            if place is None:
                return None
            found = self._asked.pop(name, None)
            if found is None:
                self._next = max(self._next, place + 1)
            self._forget([n for n in self._asked if self._order[n] < place - SKIPPED])
            self._go_on()
            return found

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            self._asked.pop(name).content.cancel()

    def _go_on(self) -> None:
        while self._next < len(self._names) and len(self._asked) < HELD:
            name = self._names[self._next]
            content = self._threads.submit(self._fetch, name, self._count)
            self._asked[name] = Beginning(content, self._count)
            self._next += 1
