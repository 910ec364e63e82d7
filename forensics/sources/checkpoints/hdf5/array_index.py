"""Fixed and extensible arrays: lists of chunks by number.

Sizes follow from few numbers in the header, as in libhdf5's H5FA*.c and H5EA*.c; each block repeats
the header's address and ends in a checksum. Long data blocks come in pages with a checksum each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from forensics.sources.checkpoints.hdf5.fields import Fields
from forensics.sources.checkpoints.hdf5.image import Image

_MAX_PAGE_BITS = 32
Numbered = tuple[int, Fields]
"""Number of an element, and the element; those that were never written are left out."""


@dataclass(frozen=True, slots=True)
class _Array:
    """What all blocks of an array need to be read."""

    image: Image
    header: int
    client: int
    element: int
    page: int
    """Elements of a page."""
    offset_size: int
    """Bytes of a block's place in the array; 0 where blocks do not state it."""
    what: str

    def block(self, address: int, size: int, signature: bytes) -> Fields:
        """Begin a block that ends in a checksum, which is verified."""
        data = self.image.take(address, size, self.what)
        fields = Fields(self.image, address, data, self.what)
        fields.at = size - 4
        fields.verify()
        fields.at, fields.data = 0, data[:-4]
        fields.expect(signature + bytes([0, self.client]))
        if fields.defined() != self.header:
            raise fields.damaged("bad_address", f"a block does not belong to {self.what}")
        fields.raw(self.offset_size)
        return fields

    @property
    def prefix(self) -> int:
        """Bytes before the content of a block."""
        return 6 + self.image.offset_size + self.offset_size

    def elements(self, fields: Fields, first: int, count: int) -> Iterator[Numbered]:
        """Split what comes next into elements, numbered from `first`."""
        for number in range(first, first + count):
            start = fields.address + fields.at
            yield number, Fields(self.image, start, fields.raw(self.element), self.what)

    def data_block(
        self, address: int, first: int, count: int, signature: bytes, pages: bytes | None
    ) -> Iterator[Numbered]:
        """Elements of a data block, be it in pages.

        Parameters
        ----------
        first, count : int
            Which elements of the array they are.
        pages : bytes or None
            Which pages were written, one bit each, empty where all were; None where the block
            itself says so.
        """
        if count <= self.page:
            size = self.prefix + count * self.element + 4
            yield from self.elements(self.block(address, size, signature), first, count)
            return
        own = page_bytes(count, self.page) if pages is None else 0
        size = self.prefix + own + 4
        head = self.block(address, size, signature)
        written = bytes(head.raw(own)) if pages is None else pages
        start = address + size
        for number in range(-(-count // self.page)):
            here = min(count - number * self.page, self.page)
            length = here * self.element + 4
            if not written or written[number // 8] & 0x80 >> number % 8:
                yield from self._page(start, first + number * self.page, here)
            start += length

    def _page(self, start: int, first: int, count: int) -> Iterator[Numbered]:
        data = self.image.take(start, count * self.element + 4, self.what)
        fields = Fields(self.image, start, data, self.what)
        fields.at = len(data) - 4
        fields.verify()
        fields.at = 0
        yield from self.elements(fields, first, count)


def page_bytes(count: int, page: int) -> int:
    """Bytes with one bit for each page of `count` elements."""
    return (-(-count // page) + 7) // 8


def fixed_array(image: Image, address: int, filtered: bool, what: str) -> Iterator[Numbered]:
    """Elements of a fixed array that were written."""
    name = f"the chunks' array of {what}"
    size = 12 + image.length_size + image.offset_size
    fields = Fields(image, address, image.take(address, size, name), name)
    fields.expect(b"FAHD\0" + bytes([filtered]))
    element, bits, count = fields.integer(1), fields.integer(1), fields.length()
    block = fields.place()
    fields.verify()
    if bits > _MAX_PAGE_BITS or count > image.size or element < image.offset_size:
        raise fields.damaged("bad_length", f"{name} is of an impossible shape")
    if block is not None:
        array = _Array(image, address, int(filtered), element, 1 << bits, 0, name)
        yield from array.data_block(block, 0, count, b"FADB", None)


def extensible_array(image: Image, address: int, filtered: bool, what: str) -> Iterator[Numbered]:
    """Elements of an extensible array that were written."""
    name = f"the chunks' array of {what}"
    size = 16 + 6 * image.length_size + image.offset_size
    fields = Fields(image, address, image.take(address, size, name), name)
    fields.expect(b"EAHD\0" + bytes([filtered]))
    element, bits, first, smallest, pointers, page_bits = (fields.integer(1) for _ in range(6))
    fields.raw(6 * image.length_size)
    index = fields.place()
    fields.verify()
    sound = 0 < bits <= 64 and _power(smallest) and _power(pointers)
    if not sound or page_bits > _MAX_PAGE_BITS or element < image.offset_size:
        raise fields.damaged("bad_length", f"{name} is of an impossible shape")
    if index is not None:
        array = _Array(image, address, int(filtered), element, 1 << page_bits, 0, name)
        placed = replace(array, offset_size=(bits + 7) // 8)
        yield from _index_block(array, placed, index, _Levels(bits, first, smallest, pointers))


def _power(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


@dataclass(frozen=True, slots=True)
class _Levels:
    """How an extensible array grows: the numbers of its header."""

    bits: int
    first: int
    smallest: int
    pointers: int

    @property
    def count(self) -> int:
        """Levels of data blocks."""
        return 1 + self.bits - (self.smallest.bit_length() - 1)

    @property
    def direct(self) -> int:
        """Levels whose data blocks the index block lists itself."""
        return 2 * (self.pointers.bit_length() - 1)

    def shape(self, level: int) -> tuple[int, int]:
        """Return data blocks of a level, and elements of each."""
        return 1 << level // 2, self.smallest << (level + 1) // 2


def _index_block(array: _Array, placed: _Array, index: int, levels: _Levels) -> Iterator[Numbered]:
    """Walk the first elements, then data blocks by pointers, then super blocks of these."""
    blocks, supers = 2 * (levels.pointers - 1), max(0, levels.count - levels.direct)
    width = array.image.offset_size
    size = array.prefix + levels.first * array.element + (blocks + supers) * width + 4
    fields = array.block(index, size, b"EAIB")
    yield from array.elements(fields, 0, levels.first)
    first = levels.first
    for level in range(levels.count):
        n_blocks, n_elements = levels.shape(level)
        addresses: list[int | None] = []
        bitmap = b""
        if level < levels.direct:
            addresses = [fields.place() for _ in range(n_blocks)]
        elif (address := fields.place()) is not None:
            addresses, bitmap = _super_block(placed, address, n_blocks, n_elements)
        share = len(bitmap) // n_blocks
        for number, block in enumerate(addresses):
            if block is not None:
                pages = bitmap[number * share : (number + 1) * share]
                at = first + number * n_elements
                yield from placed.data_block(block, at, n_elements, b"EADB", pages)
        first += n_blocks * n_elements


def _super_block(
    placed: _Array, address: int, n_blocks: int, n_elements: int
) -> tuple[list[int | None], bytes]:
    """Addresses of data blocks, and which pages of each were written."""
    bitmaps = n_blocks * page_bytes(n_elements, placed.page) if n_elements > placed.page else 0
    size = placed.prefix + bitmaps + n_blocks * placed.image.offset_size + 4
    fields = placed.block(address, size, b"EASB")
    written = bytes(fields.raw(bitmaps))
    return [fields.place() for _ in range(n_blocks)], written
