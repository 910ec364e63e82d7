from __future__ import annotations

import math
import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.errors import Damaged
from forensics.sources.events.scalar_tensor import scalar
from tests.sources.event_writer import (
    bytes_field,
    double_field,
    float_field,
    number_field,
    shape,
    tensor,
    varint,
)

# DataType, NumPy dtype, a value it holds exactly, its repeated field and how an element is written.
DTYPES = [
    (1, np.float32, -1.5, float_field(5, -1.5)),
    (2, np.float64, 1e300, double_field(6, 1e300)),
    (3, np.int32, -7, number_field(7, -7)),
    (4, np.uint8, 200, number_field(7, 200)),
    (5, np.int16, -300, number_field(7, -300)),
    (6, np.int8, -3, number_field(7, -3)),
    (9, np.int64, -(2**40), number_field(10, -(2**40))),
    (10, np.bool_, 1, number_field(11, 1)),
    (14, ml_dtypes.bfloat16, 0.15625, number_field(13, 0x3E20)),
    (17, np.uint16, 65535, number_field(7, 65535)),
    (19, np.float16, 0.1875, number_field(13, 0x3200)),
    (22, np.uint32, 2**32 - 1, number_field(16, 2**32 - 1)),
    (23, np.uint64, 2**63, number_field(17, 2**63)),
]


def read(message: bytes) -> float | None:
    return scalar(message, 0, len(message))


@pytest.mark.parametrize(("dtype", "kind", "value", "element"), DTYPES)
@pytest.mark.parametrize("sizes", [(), (1,), (1, 1, 1)])
def test_every_dtype_in_every_storage(
    dtype: int, kind: type, value: float, element: bytes, sizes: tuple[int, ...]
) -> None:
    content = bytes_field(4, np.array(value, kind).tobytes())
    assert read(tensor(dtype, sizes, content)) == value
    assert read(tensor(dtype, sizes, element)) == value
    assert read(content + tensor(dtype, sizes)) == value
    packed = bytes_field(element[0] >> 3 if element[0] < 0x80 else _number(element), _bare(element))
    assert read(tensor(dtype, sizes, packed)) == value
    # An element that is not stored is 0.
    assert read(tensor(dtype, sizes)) == 0.0


def _number(element: bytes) -> int:
    return (element[0] & 0x7F | element[1] << 7) >> 3


def _bare(element: bytes) -> bytes:
    return element[1:] if element[0] < 0x80 else element[2:]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0])
def test_special_values_are_kept(value: float) -> None:
    found = read(tensor(1, (), float_field(5, value)))
    assert found is not None
    assert struct.pack("<d", found) == struct.pack("<d", value)


def test_integers_beyond_double_precision_are_rounded() -> None:
    assert read(tensor(9, (), number_field(10, 2**53 + 1))) == float(2**53)


@pytest.mark.parametrize("sizes", [(0,), (2,), (1, 3), (1, 0), (2**62, 4), (-1,)])
def test_other_shapes_are_no_scalars(sizes: tuple[int, ...]) -> None:
    assert read(tensor(1, sizes, float_field(5, 1.0))) is None


def test_unknown_rank_is_no_scalar() -> None:
    message = number_field(1, 1) + bytes_field(2, shape() + number_field(3, 1))
    assert read(message + float_field(5, 1.0)) is None


@pytest.mark.parametrize("dtype", [0, 7, 8, 18, 20, 21, 24, 99, 101])
def test_other_dtypes_are_no_scalars(dtype: int) -> None:
    assert read(tensor(dtype, (), bytes_field(4, b"\x01"))) is None


@pytest.mark.parametrize(
    "rest",
    [
        bytes_field(4, b"\0" * 3),
        bytes_field(4, b"\0" * 8),
        bytes_field(5, b"\0" * 8),
        bytes_field(5, b"\0" * 6),
        float_field(5, 1.0) * 2,
    ],
)
def test_contents_that_do_not_fit_the_shape_are_damaged(rest: bytes) -> None:
    with pytest.raises(Damaged) as caught:
        read(tensor(1, (), rest))
    assert caught.value.kind == "bad_tensor"


def test_a_cut_packed_number_is_damaged() -> None:
    with pytest.raises(Damaged):
        read(tensor(9, (), bytes_field(10, varint(2**40)[:-1])))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_number_nothing_or_damage(data: bytes) -> None:
    try:
        found = read(data)
    except Damaged:
        return
    assert found is None or isinstance(found, float)
