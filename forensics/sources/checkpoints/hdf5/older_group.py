"""Links of an older group: a tree of symbol nodes, and a heap with their names."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from forensics.sources.checkpoints.hdf5.btree1 import read_node
from forensics.sources.checkpoints.hdf5.fields import Fields
from forensics.sources.checkpoints.hdf5.image import Image
from forensics.sources.checkpoints.hdf5.links import Link, LinkKind

_GROUP_NODE = 0
_SOFT_LINK = 2
_NO_FREE_BLOCK = 1


@dataclass(frozen=True, slots=True)
class Room:
    """Half of the entries that a leaf and an inner node of an older group have room for."""

    leaf: int
    inner: int


def read_older_group(image: Image, fields: Fields, room: Room, what: str) -> list[Link]:
    """Read the links that a symbol table message leads to, sorted by name.

    Raises
    ------
    Damaged
        The tree, its nodes or the heap contradict themselves or each other.
    """
    tree, heap_address = fields.defined(), fields.defined()
    heap = _heap(image, heap_address, what)
    links: list[Link] = []
    for address in _leaves(image, tree, room, what):
        links.extend(_symbols(image, address, heap, room, what))
    names = [link.name for link in links]
    if any(a >= b for a, b in pairwise(names)):
        raise image.damaged(tree, "bad_order", f"the names in {what} are not in order")
    return links


def _leaves(image: Image, root: int, room: Room, what: str) -> list[int]:
    """Addresses of symbol nodes, in order."""
    size = image.length_size
    found: list[int] = []
    waiting: list[tuple[int, int | None]] = [(root, None)]
    while waiting:
        address, level = waiting.pop()
        node = read_node(image, address, _GROUP_NODE, level, size, 2 * room.inner, what)
        if node.level == 0:
            found.extend(node.children)
        else:
            waiting.extend((child, node.level - 1) for child in reversed(node.children))
    return found


def _symbols(image: Image, address: int, heap: Fields, room: Room, what: str) -> list[Link]:
    entry = 2 * image.offset_size + 24
    data = image.take(address, 8 + 2 * room.leaf * entry, f"a symbol node of {what}")
    fields = Fields(image, address, data, f"symbol node of {what}")
    fields.expect(b"SNOD\1")
    fields.zeros(1)
    count = fields.integer(2)
    if count > 2 * room.leaf:
        raise fields.damaged("bad_length", f"a symbol node of {what} has no room for {count} links")
    return [_symbol(fields, heap) for _ in range(count)]


def _symbol(fields: Fields, heap: Fields) -> Link:
    name = _text(heap, fields.integer(fields.image.offset_size))
    address = fields.place()
    cached = fields.integer(4)
    fields.zeros(4)
    fields.raw(16)
    if cached == _SOFT_LINK:
        return Link(name, LinkKind.SOFT, 0)
    if address is None or cached > _SOFT_LINK:
        raise fields.damaged("bad_address", f"a link in {fields.what} leads nowhere")
    return Link(name, LinkKind.HARD, address)


def _heap(image: Image, address: int, what: str) -> Fields:
    length, width = image.length_size, image.offset_size
    name = f"the heap of names of {what}"
    fields = Fields(image, address, image.take(address, 8 + 2 * length + width, name), name)
    fields.expect(b"HEAP\0")
    fields.zeros(3)
    size, free, start = fields.length(), fields.length(), fields.defined()
    heap = Fields(image, start, image.take(start, size, name), name)
    _check_free(heap, free)
    return heap


def _check_free(heap: Fields, free: int) -> None:
    """Follow the free blocks: they end, and lie in the heap one after another."""
    length = heap.image.length_size
    undefined = (1 << 8 * length) - 1
    seen = 0
    while free not in (_NO_FREE_BLOCK, undefined):
        heap.at = min(free, len(heap.data))
        following, size = heap.length(), heap.length()
        if size < 2 * length or free + size > len(heap.data) or seen > len(heap.data):
            raise heap.damaged("bad_length", f"{heap.what} has a free block that is none")
        seen += size
        free = following


def _text(heap: Fields, offset: int) -> bytes:
    data = heap.data
    if offset >= len(data):
        raise heap.damaged("out_of_range", f"{heap.what} has no name at {offset}")
    step = 64
    while True:
        piece = bytes(data[offset : offset + step])
        end = piece.find(b"\0")
        if end >= 0:
            break
        if offset + step >= len(data):
            raise heap.damaged("bad_name", f"a name in {heap.what} has no end")
        step *= 2
    padding = data[offset + end : offset + end + 1 + (-(end + 1) % 8)]
    if offset % 8 or any(padding):
        raise heap.damaged("bad_name", f"a name in {heap.what} is not padded by zeros")
    return piece[:end]
