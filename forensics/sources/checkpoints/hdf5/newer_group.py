"""Links and attributes of newer objects: in the header, or in a heap once there are many."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from forensics.sources.checkpoints.hdf5.btree2 import read_records
from forensics.sources.checkpoints.hdf5.fields import Fields
from forensics.sources.checkpoints.hdf5.fractal_heap import FractalHeap
from forensics.sources.checkpoints.hdf5.image import Image
from forensics.sources.checkpoints.hdf5.links import Link, read_link
from forensics.sources.checkpoints.hdf5.lookup3 import lookup3
from forensics.sources.checkpoints.hdf5.object_header import (
    ATTRIBUTE,
    ATTRIBUTE_INFO,
    LINK,
    LINK_INFO,
    Header,
)

_LINKS_BY_NAME, _ATTRIBUTES_BY_NAME = 5, 8
_SHARED = 2


def read_newer_group(image: Image, header: Header, what: str) -> list[Link]:
    """Read the links of a group, sorted by name.

    Raises
    ------
    Damaged
        A link is broken, or two have one name.
    """
    links = [read_link(message.fields) for message in header.all(LINK)]
    info = header.first(LINK_INFO)
    if info is not None:
        places = _places(info.fields, counter=8)
        if places is not None:
            links.extend(_dense_links(image, *places, what))
    links.sort(key=lambda link: link.name)
    if any(a.name == b.name for a, b in pairwise(links)):
        raise image.damaged(header.address, "bad_order", f"two links in {what} have one name")
    return links


def attribute_fields(image: Image, header: Header, what: str) -> Iterator[Fields]:
    """Each attribute of an object, not read yet."""
    for message in header.all(ATTRIBUTE):
        if message.shared:
            raise message.fields.damaged("unsupported", f"{what} shares an attribute")
        yield message.fields
    info = header.first(ATTRIBUTE_INFO)
    places = None if info is None else _places(info.fields, counter=2)
    if places is None:
        return
    heap = FractalHeap(image, places[0], f"attributes of {what}")
    tree = f"the attributes' tree of {what}"
    for record in read_records(image, places[1], _ATTRIBUTES_BY_NAME, tree):
        found = heap.find(record)
        if record.integer(1) & _SHARED:
            raise record.damaged("unsupported", f"{what} shares an attribute")
        yield found


def _places(fields: Fields, counter: int) -> tuple[int, int] | None:
    """Addresses of a heap and of its index by name, None where all lies in the header."""
    fields.expect(b"\0", "bad_version")
    flags = fields.integer(1)
    if flags & ~3:
        raise fields.damaged("bad_reserved", f"reserved bits of {fields.what} are not zero")
    if flags & 1:
        fields.raw(counter)
    heap, index = fields.place(), fields.place()
    if heap is None:
        return None
    if index is None:
        raise fields.damaged("bad_address", f"{fields.what} has a heap and no index")
    return heap, index


def _dense_links(image: Image, heap_address: int, index: int, what: str) -> Iterator[Link]:
    heap = FractalHeap(image, heap_address, f"links of {what}")
    for record in read_records(image, index, _LINKS_BY_NAME, f"the links' tree of {what}"):
        hashed = record.integer(4)
        link = read_link(heap.find(record))
        if lookup3(link.name) != hashed:
            raise record.damaged("crc_mismatch", f"the name of a link in {what} was changed")
        yield link
