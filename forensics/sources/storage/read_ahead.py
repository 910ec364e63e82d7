"""Blocks of a remote file: fetched by range, the next ones while the last is being read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

BLOCK = 4 << 20
"""Bytes of one request: long enough that its latency does not count."""
AHEAD = 3
"""Blocks that are under way beyond the one being read."""
KEPT = 6
"""Blocks that are held for readers that come back."""

Fetch = Callable[[int, int], bytes]
"""From offset and count to bytes; fewer where the file has become shorter."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """First bytes of a file that are under way: `count` of them (a block at most), or all."""

    content: Future[bytes]
    count: int


class ReadAhead:
    """Random access to a file of which a request takes long; by several threads, too.

    Parameters
    ----------
    fetch : callable
        Makes a request; may be called from several threads.
    size : int
        Bytes of the file.
    threads : ThreadPoolExecutor
        Where requests wait.
    first : Beginning or None
        What is under way already.
    """

    def __init__(
        self,
        fetch: Fetch,
        size: int,
        threads: ThreadPoolExecutor,
        first: Beginning | None = None,
    ) -> None:
        self._fetch, self._size, self._threads = fetch, size, threads
        self._blocks: dict[int, Future[bytes]] = {}
        self._lock = Lock()
        self._first = first
        if first is not None and first.count >= min(BLOCK, size):
            self._blocks[0] = first.content

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`; fewer only where the file has become shorter."""
        end = offset + count
        if self._first is not None and end <= self._first.count < BLOCK:
            return self._first.content.result()[offset:end]
        parts: list[bytes] = []
        for index in range(offset // BLOCK, -(-end // BLOCK)):
            start = index * BLOCK
            block = self._block(index, -(-end // BLOCK)).result()
            parts.append(block[max(0, offset - start) : end - start])
            if len(block) < min(BLOCK, self._size - start):
                # what comes after lies elsewhere now
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Give up what is under way."""
        with self._lock:
            for block in self._blocks.values():
                block.cancel()
            self._blocks.clear()

    def _block(self, index: int, wanted: int) -> Future[bytes]:
        """One block; those up to `wanted`, and after a second one in a row more, are asked for."""
        with self._lock:
            in_a_row = index - 1 in self._blocks
            for following in range(index, index + AHEAD + 1):
                if following == index or following < wanted or in_a_row:
                    self._start(following)
            block = self._blocks.pop(index)
            self._blocks[index] = block
            while len(self._blocks) > KEPT + AHEAD:
                del self._blocks[next(iter(self._blocks))]
            return block

    def _start(self, index: int) -> None:
        start = index * BLOCK
        if index not in self._blocks and start < self._size:
            count = min(BLOCK, self._size - start)
            self._blocks[index] = self._threads.submit(self._fetch, start, count)
