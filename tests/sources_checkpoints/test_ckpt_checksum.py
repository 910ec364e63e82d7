"""CRC-32C against its published vectors and a plain loop."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.sources.checksum import crc32c, crc32c_by_numpy, mask, unmask


def plain(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    # RFC 3720, appendix B.4.
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_published_vectors(data: bytes, expected: int) -> None:
    assert crc32c(data) == crc32c_by_numpy(data) == expected


@given(st.integers(0, 700), st.integers(0, 2**32), st.integers(0, 700))
def test_equals_a_plain_loop_and_continues(size: int, seed: int, cut: int) -> None:
    data = random.Random(seed).randbytes(size)
    assert crc32c(data) == plain(data)
    assert crc32c(data[cut:], crc32c(memoryview(data)[:cut])) == plain(data)
    assert crc32c_by_numpy(data[cut:], crc32c_by_numpy(memoryview(data)[:cut])) == plain(data)


@pytest.mark.parametrize("size", [(1 << 18) - 1, 1 << 18, (1 << 18) + 1, 600_003])
def test_blocks_are_joined(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert crc32c(data) == crc32c_by_numpy(data) == plain(data)


@given(st.integers(0, 2**32 - 1))
def test_masking_is_undone(crc: int) -> None:
    assert unmask(mask(crc)) == crc
