"""Streams of records for tests of event readers: regular ones, irregular ones, damaged ones."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from tests.sources import event_writer as ew

TAGS = st.one_of(
    st.sampled_from([b"loss", b"train/accuracy", b"", b"a" * 5000, b"\xff\xfe", b"\\xff\\xfe"]),
    st.binary(max_size=40),
)
STEPS = st.one_of(st.integers(0, 500), st.integers(-(2**63), 2**63 - 1))
_WIDTHS = {1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 9: 8, 10: 1, 14: 2, 17: 2, 19: 2, 22: 4, 23: 8}
_FIELDS = {
    1: 5,
    2: 6,
    3: 7,
    4: 7,
    5: 7,
    6: 7,
    9: 10,
    10: 11,
    14: 13,
    17: 7,
    19: 13,
    22: 16,
    23: 17,
}


def key(number: int, wire: int) -> bytes:
    return ew.varint(number << 3 | wire)


@st.composite
def tensors(draw: st.DrawFn) -> bytes:
    """A TensorProto: any dtype, shape and storage, most of them of one number."""
    dtype = draw(st.sampled_from([*_WIDTHS, 7, 8, 0, 99]))
    sizes = draw(st.sampled_from([(), (), (1,), (1, 1), (2,), (0,), (-1,)]))
    width = _WIDTHS.get(dtype, 4)
    number = _FIELDS.get(dtype, 8)
    bits = draw(st.binary(min_size=width, max_size=width))
    value = int.from_bytes(bits, "little", signed=True)
    fixed = width in (4, 8) and dtype in (1, 2)
    one = bits if fixed else ew.varint(value)
    wire = {4: 5, 8: 1}[width] if fixed else 0
    rest = draw(
        st.sampled_from(
            [
                ew.bytes_field(4, bits),
                ew.bytes_field(4, bits),
                ew.bytes_field(4, bits + b"\0"),
                key(number, wire) + one,
                ew.bytes_field(number, one),
                ew.bytes_field(number, one + one),
                ew.bytes_field(number, b""),
                ew.bytes_field(number, one[:-1] or b"\x80"),
                (key(number, wire) + one) * 2,
                key(number, 5) + b"abcd",
                ew.float_field(5, 2.5),
                b"",
            ]
        )
    )
    return ew.tensor(dtype, sizes, rest)


@st.composite
def values(draw: st.DrawFn) -> bytes:
    """A Summary.Value."""
    tag = ew.bytes_field(1, draw(TAGS))
    content = draw(
        st.one_of(
            st.builds(lambda v: ew.float_field(2, v), st.floats(width=32)),
            st.builds(lambda t: ew.bytes_field(8, t), tensors()),
            st.builds(
                lambda n, p: ew.bytes_field(n, p), st.sampled_from([3, 4, 5, 6, 7]), st.binary()
            ),
            st.just(b""),
        )
    )
    metadata = draw(
        st.sampled_from(
            [
                b"",
                b"",
                ew.SCALARS,
                ew.bytes_field(9, ew.bytes_field(1, b"\x0a\x04text\x12\x02hi")),
                ew.bytes_field(9, b"\xff"),
                ew.bytes_field(9, b""),
                ew.SCALARS + ew.SCALARS,
            ]
        )
    )
    parts = [tag, content, metadata]
    if draw(st.integers(0, 9)) == 0:
        parts.append(draw(st.sampled_from([ew.float_field(2, 1.0), ew.bytes_field(5, b""), tag])))
    if draw(st.integers(0, 3)) == 0:
        parts = draw(st.permutations(parts))
    return b"".join(parts)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """An Event, most of them well-formed."""
    if draw(st.integers(0, 2)):
        tag = draw(TAGS)
        number = draw(st.floats(width=32))
        made = draw(st.sampled_from([ew.v1, ew.v2]))
        return ew.event(draw(STEPS), [made(tag, number)], draw(st.floats()))
    found = draw(st.lists(values(), max_size=4))
    event = ew.event(draw(STEPS), found, draw(st.floats()))
    extra = draw(
        st.sampled_from(
            [
                b"",
                b"",
                b"",
                ew.bytes_field(5, ew.bytes_field(1, ew.v1("second", 1.0))),
                ew.bytes_field(4, b"graph"),
                ew.bytes_field(7, b"\x08\x01"),
                ew.bytes_field(7, b"\x08\x01") * 2,
                ew.bytes_field(3, b"brain.Event:2"),
                ew.bytes_field(10, b"\x0a\x01x"),
                ew.number_field(2, 77),
                key(15, 3) + ew.number_field(1, 1) + key(15, 4),
                key(15, 0) + b"\xff" * 9 + b"\x01",
                key(15, 0) + b"\xff" * 10 + b"\x01",
                key(15, 2) + ew.varint(2**64 - 1),
                key(15, 2) + ew.varint(2**63 - 1) + b"x",
                key(0, 0) + b"\0",
                key(1 << 29, 0) + b"\0",
                key(1, 7),
                key(2, 5) + b"abcd",
                key(5, 0) + b"\x01",
            ]
        )
    )
    event = event + extra if draw(st.booleans()) else extra + event
    if draw(st.integers(0, 9)) == 0 and event:
        at = draw(st.integers(0, len(event) - 1))
        event = event[:at] + bytes([draw(st.integers(0, 255))]) + event[at + 1 :]
    return event[: draw(st.integers(0, len(event)))] if draw(st.integers(0, 19)) == 0 else event


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Records, some of them damaged, some of which hold records in their data."""
    parts = [ew.VERSION] if draw(st.booleans()) else []
    for event in draw(st.lists(events(), max_size=12)):
        record = ew.record(event)
        how = draw(st.integers(0, 24))
        if how == 0:
            at = draw(st.integers(0, len(record) - 1))
            record = (
                record[:at] + bytes([record[at] ^ 1 << draw(st.integers(0, 7))]) + record[at + 1 :]
            )
        elif how == 1:
            record = ew.record(ew.bytes_field(5, ew.bytes_field(1, ew.bytes_field(4, record))))
        elif how == 2:
            record += bytes(draw(st.integers(1, 70)))
        elif how == 3:
            length = struct.pack("<Q", draw(st.sampled_from([2**40, 2**64 - 1, 2**31, 1000])))
            record += length + ew.record(length)[20:24]
        parts.append(record)
    stream = b"".join(parts)
    return stream[: draw(st.integers(0, len(stream)))] if draw(st.integers(0, 3)) == 0 else stream
