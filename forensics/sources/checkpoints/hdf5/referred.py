"""Elements of variable length: what a dataset holds are references to the global heap."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from forensics.sources.checkpoints.hdf5.elements import Pieces
from forensics.sources.checkpoints.hdf5.fields import Fields
from forensics.sources.checkpoints.hdf5.global_heap import GlobalHeap
from forensics.sources.checkpoints.hdf5.image import Image
from forensics.sources.checkpoints.stored_tensor import PIECE
from forensics.sources.storage.blob import IN_MEMORY


def referred(pieces: Pieces, image: Image, unit: int, what: str) -> Pieces:
    """Replace each reference by the length and the bytes of what it leads to.

    Where these lie depends on what else is in the file: two datasets with equal references may hold
    different things, and the other way round.

    Parameters
    ----------
    pieces : callable
        Yields the references.
    unit : int
        Bytes of what they count.
    """
    width = 8 + image.offset_size

    def follow() -> Iterator[memoryview]:
        heap = GlobalHeap(image, min(IN_MEMORY, image.size))
        rest, found = b"", bytearray()
        for piece in pieces():
            data = rest + bytes(piece)
            whole = len(data) // width * width
            rest = data[whole:]
            fields = Fields(image, 0, memoryview(data)[:whole], what)
            while len(fields):
                item = heap.find(fields, unit)
                found += struct.pack("<Q", len(item))
                for start in range(0, len(item), PIECE):
                    found += item[start : start + PIECE]
                    while len(found) >= PIECE:
                        yield memoryview(bytes(found[:PIECE]))
                        del found[:PIECE]
        yield memoryview(bytes(found))

    return follow
