"""The global heap: where text of variable length lies."""

from __future__ import annotations

from forensics.sources.checkpoints.hdf5.fields import Fields
from forensics.sources.checkpoints.hdf5.image import Image

Collection = dict[int, memoryview]


class GlobalHeap:
    """Collections of objects, each read once.

    Parameters
    ----------
    image : Image
        The file.
    most : int, optional
        Bytes of collections that are read; without it they are claimed, which limits them too.
    """

    def __init__(self, image: Image, most: int | None = None) -> None:
        self._image, self._left = image, most
        self._collections: dict[int, Collection] = {}

    def find(self, fields: Fields, unit: int = 1) -> memoryview:
        """Find the bytes that the reference to come leads to: length, collection, index.

        Parameters
        ----------
        unit : int
            Bytes of what the length counts.
        """
        length, address, index = unit * fields.integer(4), fields.place(), fields.integer(4)
        if length == 0:
            return memoryview(b"")
        if address is None:
            raise fields.damaged("bad_reference", f"{fields.what} refers to no place")
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
        fields = Fields(image, address, self._bytes(address, head.length(), what), what)
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

    def _bytes(self, address: int, size: int, what: str) -> memoryview:
        if self._left is None:
            return self._image.take(address, size, what)
        self._left -= size
        if self._left < 0:
            raise self._image.damaged(address, "limit", f"{what} and others take too many bytes")
        return self._image.read(address, size, what)
