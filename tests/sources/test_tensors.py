"""TensorProtos against TensorBoard's own conversion, and those that no sound writer makes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from forensics.errors import Damaged
from forensics.sources.events.tensors import decode_tensor
from tests.sources import event_writer as ew

NUMBERS = ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16")
FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int32": "int_val",
    "int16": "int_val",
    "int8": "int_val",
    "uint8": "int_val",
    "uint16": "int_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
}


def same(ours: Any, theirs: Any) -> None:
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert ours.tobytes() == theirs.tobytes()
    assert not ours.flags.writeable


@given(
    arrays.arrays(
        st.sampled_from(NUMBERS),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)
def test_content(values: Any) -> None:
    from tensorboard.util import tensor_util

    message = tensor_util.make_tensor_proto(values)
    same(decode_tensor(message.SerializeToString()), tensor_util.make_ndarray(message))


@given(
    st.sampled_from(sorted(FIELDS)).flatmap(
        lambda name: arrays.arrays(name, arrays.array_shapes(max_dims=2, max_side=4))
    )
)
def test_values_in_fields(values: Any) -> None:
    from tensorboard.compat.proto import tensor_pb2, types_pb2

    name = {"float32": "FLOAT", "float64": "DOUBLE"}.get(str(values.dtype), str(values.dtype))
    message = tensor_pb2.TensorProto(dtype=types_pb2.DataType.Value(f"DT_{name.upper()}"))
    for size in values.shape:
        message.tensor_shape.dim.add().size = size
    getattr(message, FIELDS[str(values.dtype)]).extend(values.reshape(-1).tolist())
    same(decode_tensor(message.SerializeToString()), values)


def test_half_precision_in_fields() -> None:
    import ml_dtypes

    for number, dtype in ((19, np.float16), (14, ml_dtypes.bfloat16)):
        values = np.array([1.5, -2.0, math.inf], dtype)
        bits = b"".join(ew.varint(int(v)) for v in values.view(np.uint16))
        found = decode_tensor(ew.tensor(number, (3,), ew.bytes_field(13, bits)))
        same(found, values)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (24, "float8_e5m2"),
        (25, "float8_e4m3fn"),
        (26, "float8_e4m3fnuz"),
        (27, "float8_e4m3b11fnuz"),
        (28, "float8_e5m2fnuz"),
    ],
)
def test_float8(number: int, name: str) -> None:
    import ml_dtypes

    values = np.array([1.5, -2.0, 0.0], getattr(ml_dtypes, name))
    for field in (4, 18):
        stored = ew.bytes_field(field, b"\0") + ew.bytes_field(field, values.tobytes())
        same(decode_tensor(ew.tensor(number, (3,), stored)), values)
    assert decode_tensor(
        ew.tensor(number, (2,), ew.bytes_field(18, values[:1].tobytes()))
    ).tolist() == [1.5, 1.5]


def test_complex_numbers() -> None:
    values = np.array([1 + 2j, -3.5j], np.complex64)
    same(decode_tensor(ew.tensor(8, (2,), ew.bytes_field(9, values.tobytes()))), values)
    with pytest.raises(Damaged, match="half a complex number"):
        decode_tensor(ew.tensor(8, (1,), ew.float_field(9, 1.0)))


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=6))
def test_strings(strings: list[bytes]) -> None:
    rest = b"".join(ew.bytes_field(8, text) for text in strings)
    found = decode_tensor(ew.tensor(7, (len(strings),), rest))
    assert (found.dtype.kind, found.tolist()) == ("O", strings)


def test_what_is_not_stored() -> None:
    assert decode_tensor(ew.tensor(1, (2, 2))).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert decode_tensor(ew.tensor(7, (2,))).tolist() == [b"", b""]
    assert decode_tensor(ew.tensor(3, (4,), ew.bytes_field(7, b"\x05\x06"))).tolist() == [
        5,
        6,
        6,
        6,
    ]
    assert decode_tensor(ew.tensor(1, (0, 3))).shape == (0, 3)


def test_one_value_throughout_takes_no_room() -> None:
    huge = decode_tensor(ew.tensor(1, (1 << 20, 1 << 20), ew.float_field(5, 2.5)))
    assert huge.shape == (1 << 20, 1 << 20)
    assert huge.strides == (0, 0)
    assert huge[-1, -1] == 2.5


def test_any_byte_but_zero_is_true() -> None:
    found = decode_tensor(ew.tensor(10, (3,), ew.bytes_field(4, b"\x00\x02\x01")))
    assert (found.dtype.kind, found.tolist()) == ("b", [False, True, True])


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (ew.tensor(1, (3,), ew.bytes_field(4, b"\0" * 8)), "bad_tensor"),
        (ew.tensor(1, (2,), ew.bytes_field(5, b"\0" * 6)), "bad_tensor"),
        (ew.tensor(1, (1,), ew.bytes_field(5, b"\0" * 8)), "bad_tensor"),
        (ew.tensor(1, (1 << 40, 1 << 40)), "bad_tensor"),
        (ew.tensor(1, (1 << 30,), ew.bytes_field(5, b"\0" * 8)), "limit"),
        (ew.tensor(7, (1 << 30,), ew.bytes_field(8, b"a") * 2), "limit"),
        (ew.tensor(1, (-4,)), "bad_tensor"),
        (ew.tensor(1, (1,) * 65), "bad_tensor"),
        (ew.tensor(3, (1,), ew.float_field(7, 1.0)), "bad_tensor"),
        (ew.tensor(99, (1,)), "unsupported"),
        (ew.tensor(20, ()), "unsupported"),
        (ew.number_field(1, 1) + ew.bytes_field(2, ew.number_field(3, 1)), "bad_tensor"),
        (ew.number_field(1, 1) + b"\x12\x7f", "bad_wire"),
        (ew.number_field(2, 1), "bad_wire"),
    ],
)
def test_broken_tensors(message: bytes, kind: str) -> None:
    with pytest.raises(Damaged) as caught:
        decode_tensor(message)
    assert caught.value.kind == kind


@given(st.binary(max_size=60))
def test_nothing_else_escapes(message: bytes) -> None:
    _only_damage(message)


@given(st.data())
def test_mutants(data: st.DataObject) -> None:
    content = ew.tensor(2, (2, 3), ew.bytes_field(4, bytes(48)))
    packed = ew.tensor(3, (3,), ew.bytes_field(7, b"\x01\x80\x01\x02"))
    strings = ew.tensor(7, (2,), ew.bytes_field(8, b"ab") + ew.bytes_field(8, b""))
    message = bytearray(data.draw(st.sampled_from([content, packed, strings])))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    _only_damage(bytes(message[: data.draw(st.integers(0, len(message)))]))


def _only_damage(message: bytes) -> None:
    try:
        found = decode_tensor(message)
    except Damaged:
        return
    held = math.prod(n for n, s in zip(found.shape, found.strides, strict=True) if s)
    assert held * found.itemsize <= 64 * (1 << 22)
