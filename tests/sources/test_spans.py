"""Spans of a file read again: each once, from few pieces, plain or packed."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.errors import Damaged
from forensics.sources.events import spans
from forensics.sources.events.spans import windows
from forensics.sources.storage.place import Directory

SIZE = 5000


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    folder = tmp_path_factory.mktemp("spans")
    content = np.random.default_rng(0).bytes(SIZE)
    (folder / "plain").write_bytes(content)
    halves = (content[:2000], content[2000:])
    (folder / "packed").write_bytes(b"".join(gzip.compress(half) for half in halves))
    return Directory(folder)


def found(
    place: Directory, name: str, offsets: list[int], lengths: list[int]
) -> tuple[dict[int, bytes], list[int]]:
    """Bytes of each span, and how many bytes each window holds."""
    starts, sizes = np.array(offsets, np.int64), np.array(lengths, np.int64)
    read: dict[int, bytes] = {}
    held = []
    with place.open(name) as blob:
        for window in windows(blob, starts, sizes):
            held.append(len(window.data))
            for span in window.spans.tolist():
                assert span not in read
                first = offsets[span] - window.base
                read[span] = bytes(window.data[first : first + lengths[span]])
    return read, held


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, 700)), min_size=1, max_size=12),
    st.sampled_from([1, 100, 1 << 12]),
    st.sampled_from([0, 64, 1 << 12]),
    st.sampled_from(["plain", "packed"]),
)
def test_every_span_once(
    place: Directory, drawn: list[tuple[int, int]], window: int, gap: int, name: str
) -> None:
    offsets = [start for start, _ in drawn]
    lengths = [min(length, SIZE - start) for start, length in drawn]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "_WINDOW", window)
        patch.setattr(spans, "_GAP", gap)
        patch.setattr(spans, "_PIECE", 300)
        read, held = found(place, name, offsets, lengths)
    content = (Path(str(place.local)) / "plain").read_bytes()
    assert read == {
        index: content[start : start + length]
        for index, (start, length) in enumerate(zip(offsets, lengths, strict=True))
    }
    assert all(size <= max(window, *lengths) for size in held)


@pytest.mark.parametrize("name", ["plain", "packed"])
def test_what_is_promised_and_not_there(place: Directory, name: str) -> None:
    with pytest.raises(Damaged):
        found(place, name, [SIZE - 10], [11])
