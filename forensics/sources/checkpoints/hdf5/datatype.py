"""Datatypes: what the elements of a dataset or an attribute are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from forensics.sources.checkpoints.hdf5.fields import Fields

_FIXED, _FLOAT, _TIME, _STRING, _BITS, _OPAQUE = range(6)
_COMPOUND, _REFERENCE, _ENUM, _VARIABLE, _ARRAY, _COMPLEX = range(6, 12)
_MAX_DEPTH = 8
# size, exponent location and size, mantissa size, bias
_FLOATS = {
    (2, 10, 5, 10, 15): "float16",
    (4, 23, 8, 23, 127): "float32",
    (8, 52, 11, 52, 1023): "float64",
    (2, 7, 8, 7, 127): "bfloat16",
    (1, 3, 4, 3, 7): "float8_e4m3fn",
    (1, 2, 5, 2, 15): "float8_e5m2",
}
_COMPLEX_OF = {"float32": "complex64", "float64": "complex128"}
OPAQUE, STRING = "opaque", "string"


class Text(Enum):
    """How text is stored."""

    FIXED = "fixed"
    VARIABLE = "variable"


@dataclass(frozen=True, slots=True)
class Datatype:
    """A datatype.

    Attributes
    ----------
    name : str
        Of the NumPy or ml_dtypes dtype, ``string``, or ``opaque`` for what has no numbers.
    size : int
        Bytes of an element.
    big_endian : bool
        Whether its numbers are to be swapped.
    text : Text or None
        How it is stored, if it is text.
    unit : int
        Of what is of variable length: bytes of each of the parts that are counted; otherwise 0.
    """

    name: str
    size: int
    big_endian: bool = False
    text: Text | None = None
    unit: int = 0


def read_datatype(fields: Fields, depth: int = 0) -> Datatype:
    """Read the datatype that comes next.

    Raises
    ------
    Damaged
        It contradicts itself; ``unsupported`` for numbers that NumPy does not have.
    """
    first = fields.integer(1)
    kind, version = first & 15, first >> 4
    bits, size = fields.integer(3), fields.integer(4)
    if not 1 <= version <= 5 or size == 0 or depth > _MAX_DEPTH:
        raise fields.damaged("bad_datatype", f"a datatype in {fields.what} is none")
    if kind == _FIXED:
        return _fixed(fields, bits, size)
    if kind == _FLOAT:
        return _float(fields, bits, size)
    if kind == _STRING:
        return Datatype(STRING, size, text=Text.FIXED)
    if kind == _OPAQUE:
        fields.raw(bits & 0xFF)
        return Datatype(OPAQUE, size)
    if kind == _ENUM:
        return _enumeration(fields, version, bits, size, depth)
    if kind == _VARIABLE:
        return _variable(fields, bits, size, depth)
    if kind == _COMPOUND:
        return _compound(fields, version, bits, size, depth)
    if kind == _COMPLEX:
        return _complex(read_datatype(fields, depth + 1), size)
    if kind in (_TIME, _BITS, _REFERENCE, _ARRAY):
        return Datatype(OPAQUE, size)
    raise fields.damaged("bad_datatype", f"datatypes of class {kind} are not known")


def _fixed(fields: Fields, bits: int, size: int) -> Datatype:
    offset, precision = fields.integer(2), fields.integer(2)
    if bits & ~0b1111 or offset + precision > 8 * size or precision == 0:
        raise fields.damaged("bad_datatype", f"an integer in {fields.what} contradicts itself")
    if size not in (1, 2, 4, 8) or precision != 8 * size:
        raise fields.damaged("unsupported", f"an integer of {precision} bits in {fields.what}")
    sign = "int" if bits & 8 else "uint"
    return Datatype(f"{sign}{precision}", size, bool(bits & 1))


def _float(fields: Fields, bits: int, size: int) -> Datatype:
    offset, precision = fields.integer(2), fields.integer(2)
    exponent, exponent_size, mantissa, mantissa_size = (fields.integer(1) for _ in range(4))
    bias = fields.integer(4)
    sign = bits >> 8 & 0xFF
    if bits >> 16 or offset + precision > 8 * size or sign >= 8 * size:
        raise fields.damaged("bad_datatype", f"a float in {fields.what} contradicts itself")
    name = _FLOATS.get((size, exponent, exponent_size, mantissa_size, bias))
    # An implied leading bit, and either byte order but VAX.
    whole = (offset, precision, mantissa, sign) == (0, 8 * size, 0, 8 * size - 1)
    if name is None or not whole or bits & 0b11111110 != 0b00100000:
        raise fields.damaged("unsupported", f"a float in {fields.what} that NumPy does not have")
    return Datatype(name, size, bool(bits & 1))


def _enumeration(fields: Fields, version: int, bits: int, size: int, depth: int) -> Datatype:
    """Integers with names. h5py stores Booleans so: FALSE is 0 and TRUE is 1."""
    base = read_datatype(fields, depth + 1)
    if base.size != size or "int" not in base.name:
        raise fields.damaged("bad_datatype", f"an enumeration in {fields.what} is not of integers")
    names = [_name(fields, version) for _ in range(bits & 0xFFFF)]
    values = [bytes(fields.raw(size)) for _ in names]
    if names == [b"FALSE", b"TRUE"] and size == 1 and values == [b"\0", b"\1"]:
        return Datatype("bool", 1)
    return base


def _name(fields: Fields, version: int) -> bytes:
    """Name of a member; before version 3 padded to eight bytes."""
    start = fields.at
    rest = bytes(fields.data[start:])
    end = rest.find(b"\0")
    if end < 0:
        raise fields.damaged("bad_datatype", f"a name in {fields.what} has no end")
    fields.at += end + 1
    if version < 3:
        fields.padding(start)
    return rest[:end]


def _variable(fields: Fields, bits: int, size: int, depth: int) -> Datatype:
    part = read_datatype(fields, depth + 1)
    if bits & 15 == 1:
        return Datatype(STRING, size, text=Text.VARIABLE, unit=1)
    return Datatype(OPAQUE, size, unit=part.size)


def _compound(fields: Fields, version: int, bits: int, size: int, depth: int) -> Datatype:
    """Complex numbers as h5py stores them, as the members r and i; all else is opaque."""
    parts: list[Datatype] = []
    if bits & 0xFFFF != 2:
        return Datatype(OPAQUE, size)
    for name in (b"r", b"i"):
        if _name(fields, version) != name:
            return Datatype(OPAQUE, size)
        width = 4 if version < 3 else (size.bit_length() + 7) // 8
        offset = fields.integer(width)
        if version == 1:
            fields.raw(28)
        if offset != sum(part.size for part in parts):
            return Datatype(OPAQUE, size)
        parts.append(read_datatype(fields, depth + 1))
    return _complex(parts[0], size) if parts[0] == parts[1] else Datatype(OPAQUE, size)


def _complex(part: Datatype, size: int) -> Datatype:
    name = _COMPLEX_OF.get(part.name)
    if name is None or size != 2 * part.size:
        return Datatype(OPAQUE, size)
    return Datatype(name, size, part.big_endian)
