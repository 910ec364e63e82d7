"""Keys of slices in a tensor bundle's index: names and numbers whose bytes are ordered like them.

After ``EncodeTensorNameSlice`` in ``tensorflow/core/util/saved_tensor_slice_util.cc`` and
``tensorflow/core/lib/strings/ordered_code.cc``. Keys are only written here: which slices there are
is said by the entry of their variable, and a slice is looked up by the key that it must have.
"""

from __future__ import annotations

from collections.abc import Sequence

WHOLE = -1
"""Length of an extent that takes the whole of an axis."""


def slice_key(name: str, extents: Sequence[tuple[int, int]]) -> bytes:
    """Key of one slice.

    Parameters
    ----------
    name : str
        The variable.
    extents : sequence of (int, int)
        Start and length along each axis; length `WHOLE` for all of an axis.
    """
    # UTF-8 has no byte 0xff, which would be escaped as well.
    escaped = name.encode().replace(b"\x00", b"\x00\xff")
    parts = [_unsigned(0), escaped, b"\x00\x01", _unsigned(len(extents))]
    for start, length in extents:
        parts += [_signed(start), _signed(length)]
    return b"".join(parts)


def _unsigned(number: int) -> bytes:
    """Length in bytes, then as many bytes."""
    width = (number.bit_length() + 7) // 8
    return bytes([width]) + number.to_bytes(width, "big")


def _signed(number: int) -> bytes:
    """As many leading bits as bytes, flipped where negative, then the two's complement."""
    width = (number if number >= 0 else ~number).bit_length() // 7 + 1
    header = ((1 << width) - 1) << 7 * width
    value = number & ((1 << 8 * width) - 1)
    return (value ^ header).to_bytes(width, "big")
