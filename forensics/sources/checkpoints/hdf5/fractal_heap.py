"""Fractal heaps: where newer groups keep many links, and objects many or large attributes.

Objects lie in direct blocks, which indirect blocks list: in rows of equal width, whose blocks are
of equal size within a row; that size doubles from the third row on.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from forensics.sources.checkpoints.hdf5.btree2 import bytes_for, read_records
from forensics.sources.checkpoints.hdf5.fields import Fields
from forensics.sources.checkpoints.hdf5.image import Image

_MANAGED, _HUGE, _TINY = 0, 1, 2
_HUGE_RECORDS = 1
_MAX_ROWS = 64
_SHORT_TINY = 17
"""Longest identifier whose tiny objects state their length in four bits."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """Widths and sizes that the header states."""

    width: int
    start: int
    largest: int
    offset_size: int
    length_size: int
    checked: bool


class FractalHeap:
    """A heap whose objects are looked up by identifier.

    Raises
    ------
    Damaged
        Its header or a block is broken; ``unsupported`` where it is compressed.
    """

    def __init__(self, image: Image, address: int, what: str) -> None:
        self._image, self._address, self._what = image, address, f"the heap of {what}"
        self._blocks: list[tuple[int, int, memoryview, int]] = []
        width, length = image.offset_size, image.length_size
        size = 26 + 3 * width + 12 * length
        fields = Fields(image, address, image.take(address, size, self._what), self._what)
        fields.expect(b"FRHP\0")
        self._id_size, filters, flags = fields.integer(2), fields.integer(2), fields.integer(1)
        if filters:
            raise fields.damaged("unsupported", f"{self._what} is compressed")
        largest_managed = fields.integer(4)
        fields.length()
        self._huge = fields.place()
        fields.raw(length + width + 8 * length)
        table_width, start, largest = fields.integer(2), fields.length(), fields.length()
        bits, _, root, rows = (
            fields.integer(2),
            fields.integer(2),
            fields.place(),
            fields.integer(2),
        )
        fields.verify()
        self._shape = _Shape(
            table_width,
            start,
            largest,
            (bits + 7) // 8,
            min(bytes_for(largest), bytes_for(largest_managed)),
            bool(flags & 2),
        )
        if not table_width or not start or rows > _MAX_ROWS:
            raise fields.damaged("bad_length", f"{self._what} has blocks of an impossible size")
        if root is not None:
            self._walk(root, rows)
            self._blocks.sort(key=lambda block: block[0])
        self._huge_objects: dict[int, tuple[int, int]] | None = None

    def _walk(self, root: int, rows: int) -> None:
        """Read all blocks."""
        if not rows:
            self._direct(root, self._shape.start, 0)
            return
        waiting = [(root, rows, 0)]
        while waiting:
            address, rows, offset = waiting.pop()
            for child, row, start in self._children(address, rows, offset):
                size = self._row_size(row)
                if size <= self._shape.largest:
                    self._direct(child, size, start)
                else:
                    waiting.append((child, self._rows_of(size), start))

    def _row_size(self, row: int) -> int:
        """Bytes of each block of a row."""
        return self._shape.start << max(0, row - 1)

    def _rows_of(self, size: int) -> int:
        """Rows of an indirect block that stands for `size` bytes of the heap."""
        whole = self._shape.start * self._shape.width
        return max(1, (size // whole).bit_length())

    def _children(self, address: int, rows: int, offset: int) -> list[tuple[int, int, int]]:
        """Blocks that an indirect block lists: address, row, place in the heap."""
        image, shape = self._image, self._shape
        head = 5 + image.offset_size + shape.offset_size
        count = rows * shape.width
        size = head + count * image.offset_size + 4
        fields = Fields(image, address, image.take(address, size, self._what), self._what)
        self._expect(fields, b"FHIB\0", offset)
        found = []
        for index in range(count):
            row = index // shape.width
            child = fields.place()
            if child is not None:
                found.append((child, row, offset))
            offset += self._row_size(row)
        fields.verify()
        return found

    def _direct(self, address: int, size: int, offset: int) -> None:
        image = self._image
        data = image.take(address, size, self._what)
        fields = Fields(image, address, data, self._what)
        self._expect(fields, b"FHDB\0", offset)
        if self._shape.checked:
            end = fields.at
            stated = fields.integer(4)
            zeroed = bytes(data[:end]) + b"\0\0\0\0" + bytes(data[fields.at :])
            again = Fields(image, address, memoryview(zeroed + stated.to_bytes(4, "little")), "")
            again.what, again.at = self._what, len(zeroed)
            again.verify()
        self._blocks.append((offset, offset + size, data, address))

    def _expect(self, fields: Fields, signature: bytes, offset: int) -> None:
        fields.expect(signature)
        if fields.defined() != self._address:
            raise fields.damaged("bad_address", f"a block does not belong to {self._what}")
        if fields.integer(self._shape.offset_size) != offset:
            raise fields.damaged("bad_address", f"a block of {self._what} is not where it belongs")

    def find(self, identifier: Fields) -> Fields:
        """Find the object that the identifier to come leads to."""
        fields = Fields(
            self._image,
            identifier.address + identifier.at,
            identifier.raw(self._id_size),
            self._what,
        )
        first = fields.integer(1)
        kind = first >> 4 & 3
        if first >> 6 or kind > _TINY:
            raise fields.damaged("bad_reference", f"an identifier in {self._what} is none")
        if kind == _TINY:
            size = (first & 15) + 1
            if self._id_size > _SHORT_TINY:
                size = ((first & 15) << 8 | fields.integer(1)) + 1
            return Fields(self._image, fields.address + fields.at, fields.raw(size), self._what)
        return self._find_huge(fields) if kind == _HUGE else self._find_managed(fields)

    def _find_managed(self, fields: Fields) -> Fields:
        offset = fields.integer(self._shape.offset_size)
        size = fields.integer(self._shape.length_size)
        index = bisect_right(self._blocks, offset, key=lambda block: block[0]) - 1
        if index >= 0:
            start, end, data, address = self._blocks[index]
            if offset + size <= end:
                at = offset - start
                return Fields(self._image, address + at, data[at : at + size], self._what)
        raise fields.damaged("bad_reference", f"{self._what} has no object at {offset}")

    def _find_huge(self, fields: Fields) -> Fields:
        """Objects of their own: an identifier has address and length in it if they fit."""
        image = self._image
        if self._id_size - 1 >= image.offset_size + image.length_size:
            address, size = fields.defined(), fields.length()
        else:
            number = fields.integer(min(self._id_size - 1, image.length_size))
            if self._huge_objects is None:
                self._huge_objects = self._read_huge(fields)
            if number not in self._huge_objects:
                raise fields.damaged("bad_reference", f"{self._what} has no object {number}")
            address, size = self._huge_objects[number]
        return Fields(image, address, image.take(address, size, self._what), self._what)

    def _read_huge(self, fields: Fields) -> dict[int, tuple[int, int]]:
        if self._huge is None:
            raise fields.damaged("bad_reference", f"{self._what} has no huge objects")
        found = {}
        for record in read_records(self._image, self._huge, _HUGE_RECORDS, self._what):
            address, size = record.defined(), record.length()
            found[record.length()] = address, size
        return found
