"""MessagePack [1]_, as far as Flax and Orbax write trees in it; every size is checked.

Arrays are extensions of type 1, and NumPy scalars of type 3: a packed list of shape, name of the
dtype, and bytes (``flax/serialization.py``).

References
----------
.. [1] https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from forensics.errors import Damaged

ARRAY, SCALAR = 1, 3
_MAX_DEPTH = 64
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h",
    0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_PLAIN = {0xC0: None, 0xC2: False, 0xC3: True}
# First byte of what has a size of 1, 2 or 4 bytes.
_BYTES, _EXTENSION, _TEXT, _LIST, _MAP = 0xC4, 0xC7, 0xD9, 0xDC, 0xDE
_FIXED_EXTENSION = 0xD4


@dataclass(frozen=True, slots=True)
class Extension:
    """A value of an extension type; its bytes lie from `first` to `last` (exclusive)."""

    type: int
    first: int
    last: int


def unpack(data: bytes, path: str, first: int = 0, last: int | None = None) -> Any:
    """Decode one value that takes all bytes from `first` to `last`.

    Returns
    -------
    object
        Dicts, lists, texts, bytes, numbers, None, and `Extension`. Keys are texts.

    Raises
    ------
    Damaged
        It is none.
    """
    reader = _Reader(data, path, first, len(data) if last is None else last)
    value = reader.value(0)
    if reader.at != reader.end:
        raise reader.fail("bytes after the end of the value")
    return value


class _Reader:
    """A position in packed bytes."""

    def __init__(self, data: bytes, path: str, first: int, end: int) -> None:
        self.data, self.path, self.at, self.end = data, path, first, end

    def fail(self, detail: str) -> Damaged:
        return Damaged(self.path, self.at, "bad_msgpack", detail)

    def value(self, depth: int) -> Any:
        """Decode the next value."""
        if depth > _MAX_DEPTH:
            raise self.fail("nested too deep")
        kind = self._take(1)[0]
        if kind < 0x80 or kind >= 0xE0:
            return kind if kind < 0x80 else kind - 0x100
        if kind in _PLAIN:
            return _PLAIN[kind]
        if kind in _NUMBERS:
            code = _NUMBERS[kind]
            return struct.unpack(code, self._take(struct.calcsize(code)))[0]
        return self._sized(kind, depth)

    def _sized(self, kind: int, depth: int) -> Any:
        if kind < 0x90:
            return self._map(kind & 0x0F, depth)
        if kind < 0xA0:
            return self._list(kind & 0x0F, depth)
        if kind < 0xC0:
            return self._text(kind & 0x1F)
        if _BYTES <= kind < _BYTES + 3:
            return self._take(self._size(kind - _BYTES))
        if _EXTENSION <= kind < _EXTENSION + 3:
            return self._extension(self._size(kind - _EXTENSION))
        if _FIXED_EXTENSION <= kind < _FIXED_EXTENSION + 5:
            return self._extension(1 << (kind - _FIXED_EXTENSION))
        if _TEXT <= kind < _TEXT + 3:
            return self._text(self._size(kind - _TEXT))
        if kind in (_LIST, _LIST + 1):
            return self._list(self._size(kind - _LIST + 1), depth)
        if kind in (_MAP, _MAP + 1):
            return self._map(self._size(kind - _MAP + 1), depth)
        raise self.fail(f"a value of type {kind:#x}")

    def _take(self, count: int) -> bytes:
        if count > self.end - self.at:
            raise self.fail("a value is cut off")
        self.at += count
        return self.data[self.at - count : self.at]

    def _size(self, power: int) -> int:
        return int.from_bytes(self._take(1 << power), "big")

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode()
        except UnicodeDecodeError:
            raise self.fail("a text is not UTF-8") from None

    def _extension(self, size: int) -> Extension:
        kind = self._take(1)[0]
        self._take(size)
        return Extension(kind, self.at - size, self.at)

    def _list(self, count: int, depth: int) -> list[Any]:
        if count > self.end - self.at:  # A byte each, at least.
            raise self.fail(f"a list of {count} values")
        return [self.value(depth + 1) for _ in range(count)]

    def _map(self, count: int, depth: int) -> dict[str, Any]:
        if 2 * count > self.end - self.at:
            raise self.fail(f"a map of {count} values")
        found: dict[str, Any] = {}
        for _ in range(count):
            key = self.value(depth + 1)
            if isinstance(key, int) and not isinstance(key, bool):
                key = str(key)
            if not isinstance(key, str) or key in found:
                raise self.fail("a key is no text, or there twice")
            found[key] = self.value(depth + 1)
        return found
