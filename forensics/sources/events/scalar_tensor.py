"""The one number in a TensorProto, whatever its dtype and however it was stored.

Field numbers and dtypes are those of ``tensorflow/core/framework/tensor.proto`` and
``types.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from forensics.errors import Damaged
from forensics.sources.wire import FIXED32, FIXED64, LENGTH, VARINT, fields, signed, varint

_F32, _F64 = struct.Struct("<f"), struct.Struct("<d")

_DTYPE, _SHAPE, _CONTENT = 1, 2, 4
_DIMENSION, _UNKNOWN_RANK, _SIZE = 2, 3, 1


@dataclass(frozen=True, slots=True)
class _Storage:
    """How the elements of a dtype are stored.

    Parameters
    ----------
    code : str
        `struct` format of an element in ``tensor_content``.
    field : int
        Number of the repeated field that may hold the elements instead.
    wire : int
        Wire type of that field's elements.
    decode : callable
        From the bits of an element to its value.
    """

    code: str
    field: int
    wire: int
    decode: Callable[[int], float]


def _float32(bits: int) -> float:
    value: float = _F32.unpack((bits & 0xFFFFFFFF).to_bytes(4, "little"))[0]
    return value


def _float64(bits: int) -> float:
    value: float = _F64.unpack(bits.to_bytes(8, "little"))[0]
    return value


def _float16(bits: int) -> float:
    value: float = struct.unpack("<e", (bits & 0xFFFF).to_bytes(2, "little"))[0]
    return value


def _bfloat16(bits: int) -> float:
    return _float32((bits & 0xFFFF) << 16)


def _integer(width: int) -> Callable[[int], float]:
    return lambda bits: float(signed(bits, width))


def _unsigned(width: int) -> Callable[[int], float]:
    return lambda bits: float(bits & ((1 << width) - 1))


_STORAGE = {
    1: _Storage("<I", 5, FIXED32, _float32),
    2: _Storage("<Q", 6, FIXED64, _float64),
    3: _Storage("<I", 7, VARINT, _integer(32)),
    4: _Storage("<B", 7, VARINT, _unsigned(8)),
    5: _Storage("<H", 7, VARINT, _integer(16)),
    6: _Storage("<B", 7, VARINT, _integer(8)),
    9: _Storage("<Q", 10, VARINT, _integer(64)),
    10: _Storage("<B", 11, VARINT, lambda bits: float(bits != 0)),
    14: _Storage("<H", 13, VARINT, _bfloat16),
    17: _Storage("<H", 7, VARINT, _unsigned(16)),
    19: _Storage("<H", 13, VARINT, _float16),
    22: _Storage("<I", 16, VARINT, _unsigned(32)),
    23: _Storage("<Q", 17, VARINT, _unsigned(64)),
}
"""By DataType: float, double, int32, uint8, int16, int8, int64, bool, bfloat16, uint16, half,
uint32, uint64. The others are no plain numbers, or not written as scalars by any writer."""


def scalar(data: bytes, start: int, end: int, path: str = "") -> float | None:
    """Value of the TensorProto in ``data[start:end]`` if it holds exactly one real number.

    Integers beyond 2**53 are rounded to the nearest float64. A tensor of one element without any
    stored value is 0, as TensorFlow reads it.

    Returns
    -------
    float or None
        None for another number of elements and for dtypes that are not real numbers.

    Raises
    ------
    Damaged
        The message is malformed, or stores fewer or more elements than its shape says.
    """
    dtype, content = 0, (start, start)
    single = True
    stored: list[tuple[int, int, int, int]] = []
    for number, wire, first, last in fields(data, start, end, path):
        if number == _DTYPE and wire == VARINT:
            dtype = first
        elif number == _SHAPE and wire == LENGTH:
            single = _is_single(data, first, last, path) and single
        elif number == _CONTENT and wire == LENGTH:
            content = (first, last)
        else:
            stored.append((number, wire, first, last))
    storage = _STORAGE.get(dtype)
    if storage is None or not single:
        return None
    if content[0] < content[1]:
        if content[1] - content[0] != struct.calcsize(storage.code):
            size = content[1] - content[0]
            raise Damaged(path, content[0], "bad_tensor", f"{size} bytes for one element")
        return storage.decode(struct.unpack_from(storage.code, data, content[0])[0])
    elements = [bits for item in stored for bits in _elements(data, storage, item, path)]
    if len(elements) > 1:
        raise Damaged(path, start, "bad_tensor", f"{len(elements)} values for one element")
    return storage.decode(elements[0]) if elements else 0.0


def _is_single(data: bytes, start: int, end: int, path: str) -> bool:
    """Whether a TensorShapeProto describes exactly one element."""
    single = True
    for number, wire, first, last in fields(data, start, end, path):
        if number == _UNKNOWN_RANK and wire == VARINT and first:
            single = False
        elif number == _DIMENSION and wire == LENGTH:
            sizes = [
                value
                for inner, kind, value, _ in fields(data, first, last, path)
                if inner == _SIZE and kind == VARINT
            ]
            single = single and (sizes[-1] if sizes else 0) == 1
    return single


def _elements(
    data: bytes, storage: _Storage, item: tuple[int, int, int, int], path: str
) -> list[int]:
    """Bits of the elements in one field: a single one, or packed. At most two are decoded."""
    number, wire, first, last = item
    if number != storage.field:
        return []
    if wire == VARINT and storage.wire == VARINT:
        return [first]
    if wire != LENGTH:
        return [int.from_bytes(data[first:last], "little")] if wire == storage.wire else []
    found: list[int] = []
    width = {FIXED32: 4, FIXED64: 8}.get(storage.wire)
    if width and (last - first) % width:
        raise Damaged(path, first, "bad_tensor", "packed values of unequal width")
    while first < last and len(found) < 2:
        if width is None:
            value, first = varint(data, first, last, path)
        else:
            value, first = int.from_bytes(data[first : first + width], "little"), first + width
        found.append(value)
    return found
