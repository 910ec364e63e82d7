from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.sources.checksum import crc32c, mask
from forensics.sources.events import span_checksums as module
from forensics.sources.events.span_checksums import masked, span_checksums, verified_headers


@pytest.fixture(autouse=True, params=[True, False], ids=["few", "many"], scope="module")
def each_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Sum few spans one by one, then in passes over their matrix."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BY_PACKAGE", request.param)
        if not request.param:
            patch.setattr(module, "_FEW", 2)
        yield


def test_vector_of_rfc_3720() -> None:
    data = np.frombuffer(b"123456789" * 40, np.uint8)
    starts = np.arange(0, 360, 9)
    found = span_checksums(data, starts, np.full(40, 9))
    assert set(found.tolist()) == {0xE3069283}


@given(
    st.binary(min_size=1, max_size=600),
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 600)), max_size=150),
)
def test_equals_one_span_after_the_other(data: bytes, pairs: list[tuple[int, int]]) -> None:
    spans = [(a % len(data), b % (len(data) - a % len(data) + 1)) for a, b in pairs]
    found = span_checksums(
        np.frombuffer(data, np.uint8), [a for a, _ in spans], [b for _, b in spans]
    )
    assert found.tolist() == [crc32c(data[a : a + b]) for a, b in spans]


def test_masks_as_the_scalar_does() -> None:
    values = np.array([0, 1, 0xFFFFFFFF, 0xE3069283], np.uint32)
    assert masked(values).tolist() == [mask(int(v)) for v in values]


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, 11), (9, 2), (3, -1)])
def test_refuses_spans_outside(start: int, length: int) -> None:
    with pytest.raises(ValueError, match="leaves the buffer"):
        span_checksums(np.zeros(10, np.uint8), [start], [length])


@given(st.binary(max_size=40), st.integers(0, 2**64 - 1), st.binary(max_size=40))
def test_finds_planted_headers(before: bytes, length: int, after: bytes) -> None:
    field = length.to_bytes(8, "little")
    header = field + mask(crc32c(field)).to_bytes(4, "little")
    data = np.frombuffer(before + header + after, np.uint8)
    assert len(before) in verified_headers(data).tolist()


def test_zeros_are_no_header() -> None:
    assert verified_headers(np.zeros(5000, np.uint8)).tolist() == []
