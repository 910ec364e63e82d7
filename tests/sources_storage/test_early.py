from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.sources.storage.early import HELD, Early

NAMES = [f"{i:03}" for i in range(200)]


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


class Server:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def fetch(self, name: str, count: int) -> bytes:
        self.asked.append(name)
        return name.encode()[:count]


def test_each_is_fetched_once_in_order(threads: ThreadPoolExecutor) -> None:
    server = Server()
    early = Early(threads, server.fetch)
    early.expect(NAMES, 2)
    for name in NAMES:
        found = early.take(name)
        assert found is not None
        assert found.content.result() == name.encode()[:2]
    assert sorted(server.asked) == NAMES
    assert early.take(NAMES[0]) is None


def test_what_was_not_expected_is_not_there(threads: ThreadPoolExecutor) -> None:
    early = Early(threads, Server().fetch)
    assert early.take("x") is None
    early.expect(["a"], 1)
    early.expect(["b"], 1)
    assert early.take("a") is None
    assert early.take("b") is not None


@given(opened=st.lists(st.sampled_from(NAMES), unique=True))
def test_files_that_are_never_opened_hold_nothing_up(
    threads: ThreadPoolExecutor, opened: list[str]
) -> None:
    server = Server()
    early = Early(threads, server.fetch)
    early.expect(NAMES, 3)
    for name in opened:
        found = early.take(name)
        assert found is None or found.content.result() == name.encode()
        assert len(early._asked) <= HELD


def test_every_tenth_is_there_when_it_is_opened(threads: ThreadPoolExecutor) -> None:
    early = Early(threads, Server().fetch)
    early.expect(NAMES, 3)
    assert all(early.take(name) is not None for name in NAMES[::10])
