from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.sources.storage import read_ahead
from forensics.sources.storage.read_ahead import AHEAD, KEPT, Beginning, ReadAhead

CONTENT = bytes(range(256)) * 2


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_ahead, "BLOCK", 16)
        yield


class Server:
    def __init__(self, size: int = len(CONTENT)) -> None:
        self.size = size
        self.asked: list[int] = []

    def fetch(self, start: int, count: int) -> bytes:
        self.asked.append(start)
        return CONTENT[: self.size][start : start + count]


@given(
    reads=st.lists(
        st.tuples(st.integers(0, len(CONTENT)), st.integers(0, 200)).map(
            lambda p: (p[0], min(p[1], len(CONTENT) - p[0]))
        ),
        max_size=12,
    ),
    kept=st.integers(0, len(CONTENT)),
)
def test_reads_are_slices_up_to_where_the_file_ends_now(
    threads: ThreadPoolExecutor, reads: list[tuple[int, int]], kept: int
) -> None:
    server = Server(kept)
    blocks = ReadAhead(server.fetch, len(CONTENT), threads)
    for offset, count in reads:
        assert blocks.read(offset, count) == CONTENT[:kept][offset : offset + count]
    assert len(blocks._blocks) <= KEPT + AHEAD


def test_a_pass_asks_for_each_block_once(threads: ThreadPoolExecutor) -> None:
    server = Server()
    blocks = ReadAhead(server.fetch, len(CONTENT), threads)
    assert b"".join(blocks.read(i, 8) for i in range(0, len(CONTENT), 8)) == CONTENT
    assert sorted(server.asked) == list(range(0, len(CONTENT), 16))


def test_a_look_here_and_there_fetches_nothing_else(threads: ThreadPoolExecutor) -> None:
    server = Server()
    blocks = ReadAhead(server.fetch, len(CONTENT), threads)
    for offset in (500, 100, 300):
        blocks.read(offset, 4)
    assert sorted(server.asked) == [96, 288, 496]


@pytest.mark.parametrize("count", [4, 16])
def test_a_beginning_that_is_under_way_is_not_fetched_again(
    threads: ThreadPoolExecutor, count: int
) -> None:
    server = Server()
    first = Beginning(threads.submit(lambda: CONTENT[:count]), count)
    blocks = ReadAhead(server.fetch, len(CONTENT), threads, first)
    assert blocks.read(0, 4) == CONTENT[:4]
    assert server.asked == []
    assert blocks.read(0, 30) == CONTENT[:30]
    assert blocks.read(2, 2) == CONTENT[2:4]
    assert server.asked.count(0) == (count < 16)


def test_an_error_is_met_where_it_lies(threads: ThreadPoolExecutor) -> None:
    def fetch(start: int, count: int) -> bytes:
        if start == 32:
            raise PermissionError
        return CONTENT[start : start + count]

    blocks = ReadAhead(fetch, len(CONTENT), threads)
    assert blocks.read(0, 32) == CONTENT[:32]
    with pytest.raises(PermissionError):
        blocks.read(30, 4)
