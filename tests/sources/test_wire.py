from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.errors import Damaged
from forensics.sources.wire import FIXED32, FIXED64, LENGTH, VARINT, fields, signed, varint
from tests.sources import event_writer as ew


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_varints_come_back(value: int, before: bytes) -> None:
    data = before + ew.varint(value)
    assert varint(data, len(before), len(data)) == (value, len(data))


@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_numbers_come_back(value: int) -> None:
    data = ew.varint(value)
    assert signed(varint(data, 0, len(data))[0]) == value


def test_all_wire_types() -> None:
    message = (
        ew.number_field(1, 300)
        + ew.double_field(2, 1.5)
        + ew.bytes_field(300, b"x" * 200)
        + ew.float_field(4, 2.5)
    )
    found = list(fields(message, 0, len(message)))
    assert [(number, wire) for number, wire, _, _ in found] == [
        (1, VARINT),
        (2, FIXED64),
        (300, LENGTH),
        (4, FIXED32),
    ]
    assert found[0][2] == 300
    assert message[found[2][2] : found[2][3]] == b"x" * 200


def test_groups_are_skipped() -> None:
    group = (
        bytes([3 << 3 | 3]) + ew.number_field(1, 9) + bytes([5 << 3 | 3, 5 << 3 | 4, 3 << 3 | 4])
    )
    message = ew.number_field(1, 1) + group + ew.number_field(2, 2)
    assert [(n, v) for n, _, v, _ in fields(message, 0, len(message))] == [(1, 1), (2, 2)]


@pytest.mark.parametrize(
    "message",
    [
        b"\x08",
        b"\x08" + b"\xff" * 10 + b"\x01",
        b"\x80" * 11,
        b"\x0a\x05abc",
        b"\x0a" + ew.varint(2**64 - 1) + b"abc",
        b"\x0a" + ew.varint(2**63) + b"abc",
        b"\x09\x00\x00",
        b"\x0d\x00",
        b"\x0e\x00",
        b"\x0f\x00",
        b"\x0c",
        b"\x00\x00",
        b"\x1b\x08\x01",
        b"\x1b" * 1000,
        b"\x0a",
    ],
)
def test_malformed_messages_are_damaged(message: bytes) -> None:
    with pytest.raises(Damaged) as caught:
        list(fields(message, 0, len(message), "a/file"))
    assert caught.value.path == "a/file"
    assert 0 <= caught.value.offset <= len(message)


@given(st.binary(max_size=80), st.integers(0, 80), st.integers(0, 80))
def test_never_leaves_its_span(data: bytes, start: int, end: int) -> None:
    start, end = min(start, len(data)), min(end, len(data))
    try:
        found = list(fields(data, start, end))
    except Damaged:
        return
    assert all(start <= first <= last <= end for _, w, first, last in found if w != VARINT)
