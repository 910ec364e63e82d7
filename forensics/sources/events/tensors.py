"""A whole TensorProto as an array, whatever its dtype and however its elements were stored.

Field numbers and dtypes are those of ``tensorflow/core/framework/tensor.proto`` and
``types.proto``; what absent elements are is taken from ``Tensor::FromProto`` in
``tensorflow/core/framework/tensor.cc``: zeros where nothing is stored, and else the last one again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from forensics.errors import Damaged
from forensics.sources.typed_fields import Field, fields, message_field, number_field
from forensics.sources.wire import FIXED32, FIXED64, LENGTH, VARINT, signed, varint

Array = npt.NDArray[Any]

STRING = 7
_DTYPE, _SHAPE, _CONTENT, _STRINGS = 1, 2, 4, 8
_DIMENSION, _SIZE, _UNKNOWN_RANK = 2, 1, 3
_MAX_RANK = 64
"""NumPy's own limit on the number of dimensions."""
_MAX_ABSENT = 1 << 22
"""Elements that are filled in although they are not stored; one repeated throughout costs none."""


@dataclass(frozen=True, slots=True)
class _Storage:
    """NumPy's name of a dtype, the repeated field that may hold its elements, their wire type.

    ``bits`` is the integer dtype whose bits a varint carries, for dtypes that are no integers.
    """

    dtype: str
    field: int
    wire: int
    bits: str = ""


_STORAGE = {
    1: _Storage("float32", 5, FIXED32),
    2: _Storage("float64", 6, FIXED64),
    3: _Storage("int32", 7, VARINT),
    4: _Storage("uint8", 7, VARINT),
    5: _Storage("int16", 7, VARINT),
    6: _Storage("int8", 7, VARINT),
    8: _Storage("complex64", 9, FIXED32),
    9: _Storage("int64", 10, VARINT),
    10: _Storage("bool", 11, VARINT),
    11: _Storage("int8", 7, VARINT),
    12: _Storage("uint8", 7, VARINT),
    13: _Storage("int32", 7, VARINT),
    14: _Storage("bfloat16", 13, VARINT, "uint16"),
    15: _Storage("int16", 7, VARINT),
    16: _Storage("uint16", 7, VARINT),
    17: _Storage("uint16", 7, VARINT),
    18: _Storage("complex128", 12, FIXED64),
    19: _Storage("float16", 13, VARINT, "uint16"),
    22: _Storage("uint32", 16, VARINT),
    23: _Storage("uint64", 17, VARINT),
    24: _Storage("float8_e5m2", 18, LENGTH),
    25: _Storage("float8_e4m3fn", 18, LENGTH),
    26: _Storage("float8_e4m3fnuz", 18, LENGTH),
    27: _Storage("float8_e4m3b11fnuz", 18, LENGTH),
    28: _Storage("float8_e5m2fnuz", 18, LENGTH),
}
"""By DataType; the quantised ones are their integers, and float8 stand in one field of bytes."""


@cache
def _numpy_dtype(name: str) -> np.dtype[Any]:
    if name.startswith(("bfloat", "float8")):
        import ml_dtypes

        name = getattr(ml_dtypes, name)
    found: np.dtype[Any] = np.dtype(name)
    return found


def decode_tensor(data: bytes, path: str = "") -> Array:
    """Decode a TensorProto.

    Parameters
    ----------
    data : bytes
        The message.
    path : str
        Its file, for errors.

    Returns
    -------
    array
        Read-only, of the tensor's shape; strings are an object array of bytes.

    Raises
    ------
    Damaged
        ``bad_tensor``: it does not hold what its shape promises; ``bad_wire``: it is no message;
        ``unsupported``: its dtype has no elements to show (resources, variants, sub-byte numbers).
    """
    dtype, content = 0, (0, 0)
    shape: tuple[int, ...] = ()
    stored: list[Field] = []
    for field in fields(data, (0, len(data)), path):
        if field.number == _DTYPE:
            dtype = number_field(field, path)
        elif field.number == _SHAPE:
            shape += _shape(data, message_field(field, path), path)
        elif field.number == _CONTENT:
            content = message_field(field, path)
        else:
            stored.append(field)
    if len(shape) > _MAX_RANK:
        raise Damaged(path, 0, "bad_tensor", f"{len(shape)} dimensions")
    count = math.prod(shape)
    if dtype == STRING:
        return _filled(_strings(data, stored, path), count, np.dtype(object), path).reshape(shape)
    storage = _STORAGE.get(dtype)
    if storage is None:
        raise Damaged(path, 0, "unsupported", f"a tensor of dtype number {dtype}")
    numpy_dtype = _numpy_dtype(storage.dtype)
    if content[0] < content[1]:
        return _content(data, content, count, numpy_dtype, path).reshape(shape)
    elements = _elements(data, storage, stored, path)
    return _filled(elements, count, numpy_dtype, path).reshape(shape)


def _shape(data: bytes, span: tuple[int, int], path: str) -> tuple[int, ...]:
    sizes: list[int] = []
    for field in fields(data, span, path):
        if field.number == _DIMENSION:
            size = 0
            for inner in fields(data, message_field(field, path), path):
                if inner.number == _SIZE:
                    size = signed(number_field(inner, path))
            if size < 0:
                raise Damaged(path, field.first, "bad_tensor", f"a dimension of {size}")
            sizes.append(size)
        elif field.number == _UNKNOWN_RANK and number_field(field, path):
            raise Damaged(path, field.first, "bad_tensor", "a tensor of unknown rank")
    return tuple(sizes)


def _content(
    data: bytes, span: tuple[int, int], count: int, dtype: np.dtype[Any], path: str
) -> Array:
    size = span[1] - span[0]
    if size != count * dtype.itemsize:
        raise Damaged(path, span[0], "bad_tensor", f"{size} bytes for {count} elements")
    if dtype.kind == "b":
        # Any byte but 0 and 1 would be neither.
        return np.asarray(np.frombuffer(data, np.uint8, count, span[0]) != 0)
    return np.frombuffer(data, dtype, count, span[0])


def _strings(data: bytes, stored: list[Field], path: str) -> Array:
    found = [message_field(field, path) for field in stored if field.number == _STRINGS]
    strings = np.empty(len(found), object)
    strings[:] = [data[first:last] for first, last in found]
    return strings


def _elements(data: bytes, storage: _Storage, stored: list[Field], path: str) -> Array:
    """Elements as they are stored, one by one or packed."""
    dtype = _numpy_dtype(storage.dtype)
    pieces = [_packed(data, storage, f, path) for f in stored if f.number == storage.field]
    if storage.wire == LENGTH:
        # Bytes that are written twice are replaced.
        pieces = pieces[-1:]
    flat = np.concatenate(pieces) if pieces else np.zeros(0, np.uint8)
    if not len(flat):
        return np.zeros(0, dtype)
    if storage.wire != VARINT:
        if flat.nbytes % dtype.itemsize:
            raise Damaged(path, 0, "bad_tensor", "half a complex number")
        return flat.view(dtype)
    if storage.dtype == "bool":
        return np.asarray(flat != 0)
    if storage.bits:
        return flat.astype(storage.bits).view(dtype)
    return flat.astype(dtype)


def _packed(data: bytes, storage: _Storage, field: Field, path: str) -> Array:
    """Elements of one field: bytes of fixed width, or the uint64 of each varint."""
    if storage.wire == VARINT:
        if field.wire_type == VARINT:
            return np.array([field.first], np.uint64)
        if field.wire_type == LENGTH:
            return _varints(data, field.first, field.last, path)
    elif field.wire_type in (storage.wire, LENGTH):
        width = {FIXED32: 4, FIXED64: 8}.get(storage.wire, 1)
        if (field.last - field.first) % width:
            raise Damaged(path, field.first, "bad_tensor", "packed values of unequal width")
        return np.frombuffer(data, np.uint8, field.last - field.first, field.first)
    raise Damaged(path, field.last, "bad_tensor", "elements are stored as another type")


def _varints(data: bytes, first: int, last: int, path: str) -> Array:
    values: list[int] = []
    while first < last:
        value, first = varint(data, first, last, path)
        values.append(value)
    return np.array(values, np.uint64)


def _filled(stored: Array, count: int, dtype: np.dtype[Any], path: str) -> Array:
    """`count` elements from those that are stored."""
    if len(stored) == count:
        stored.setflags(write=False)
        return stored
    if len(stored) > count:
        raise Damaged(path, 0, "bad_tensor", f"{len(stored)} values for {count} elements")
    if len(stored) <= 1:
        empty: Any = b"" if dtype.kind == "O" else 0
        return _repeated(stored[0] if len(stored) else empty, count, dtype, path)
    if count > _MAX_ABSENT:
        raise Damaged(path, 0, "limit", f"{len(stored)} values for {count} elements")
    filled = np.empty(count, dtype)
    filled[: len(stored)] = stored
    filled[len(stored) :] = stored[-1]
    filled.setflags(write=False)
    return filled


def _repeated(value: Any, count: int, dtype: np.dtype[Any], path: str) -> Array:
    """One element throughout: a view, so that a few bytes never become gigabytes."""
    if count > np.iinfo(np.intp).max // max(1, dtype.itemsize):
        raise Damaged(path, 0, "bad_tensor", f"a tensor of {count} elements")
    one = np.empty((), dtype)
    one[()] = value
    return np.broadcast_to(one, (count,))
