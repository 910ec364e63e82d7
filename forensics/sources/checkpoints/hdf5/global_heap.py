"""The global heap: where text of variable length lies."""

from __future__ import annotations

from forensics.sources.checkpoints.hdf5.fields import Fields
from forensics.sources.checkpoints.hdf5.image import Image

Collection = dict[int, memoryview]


class GlobalHeap:
    """Collections of objects, each read once."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._collections: dict[int, Collection] = {}

    def find(self, fields: Fields) -> memoryview:
        """Find the bytes that the reference to come leads to: length, collection, index."""
        length, address, index = fields.integer(4), fields.defined(), fields.integer(4)
        if length == 0:
            return memoryview(b"")
        if address not in self._collections:
            self._collections[address] = self._read(address)
        found = self._collections[address].get(index)
        if found is None or len(found) < length:
            raise fields.damaged("bad_reference", f"{fields.what} refers to text that is not there")
        return found[:length]

    def _read(self, address: int) -> Collection:
        image, what = self._image, "a global heap"
        head = Fields(image, address, image.read(address, 8 + image.length_size, what), what)
        head.expect(b"GCOL\1")
        head.zeros(3)
        fields = Fields(image, address, image.take(address, head.length(), what), what)
        fields.raw(head.at)
        found: Collection = {}
        while len(fields) >= 8 + image.length_size:
            index = fields.integer(2)
            fields.raw(6)
            size = fields.length()
            if index == 0:
                break
            if index in found:
                raise fields.damaged("bad_reference", f"{what} holds an index twice")
            found[index] = fields.raw(size)
            fields.raw(min(-size % 8, len(fields)))
        return found
