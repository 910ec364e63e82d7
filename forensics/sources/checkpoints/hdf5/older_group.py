"""Links of an older group: a tree of symbol nodes, and a heap with their names."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from forensics.errors import Damaged
from forensics.sources.checkpoints.hdf5.btree1 import read_node
from forensics.sources.checkpoints.hdf5.fields import Fields
from forensics.sources.checkpoints.hdf5.image import Image
from forensics.sources.checkpoints.hdf5.links import Link, LinkKind

_GROUP_NODE = 0
_SOFT_LINK = 2
_NO_FREE_BLOCK = 1
_LOST_BLOCK = 8


@dataclass(frozen=True, slots=True)
class Room:
    """Half of the entries that a leaf and an inner node of an older group have room for."""

    leaf: int
    inner: int


def read_older_group(
    image: Image, fields: Fields, room: Room, what: str
) -> tuple[list[Link], list[Damaged]]:
    """Read the links that a symbol table message leads to, sorted by name.

    Returns
    -------
    list of Link, list of Damaged
        And names in the heap that nothing leads to: links were lost, or removed.

    Raises
    ------
    Damaged
        The tree, its nodes or the heap contradict themselves or each other.
    """
    tree, heap_address = fields.defined(), fields.defined()
    heap = _Heap(image, heap_address, what)
    links: list[Link] = []
    for leaf in _leaves(image, tree, room, what):
        found, last = _symbols(image, leaf.address, heap, room, what)
        if last != leaf.last_name:
            raise image.damaged(leaf.address, "bad_tree", f"a node of {what} lacks links")
        links.extend(found)
    if any(a.name >= b.name for a, b in pairwise(links)):
        raise image.damaged(tree, "bad_order", f"the names in {what} are not in order")
    return links, heap.left()


class _Leaf(NamedTuple):
    address: int
    last_name: int
    """Where the heap holds the name of its last link, by the tree."""


def _leaves(image: Image, root: int, room: Room, what: str) -> list[_Leaf]:
    """Symbol nodes, in order."""
    found: list[_Leaf] = []
    waiting: list[tuple[int, int | None]] = [(root, None)]
    while waiting:
        address, level = waiting.pop()
        size = image.length_size
        node = read_node(image, address, _GROUP_NODE, level, size, 2 * room.inner, what)
        if node.level == 0:
            keys = (int.from_bytes(key, "little") for key in node.keys[1:])
            found.extend(map(_Leaf, node.children, keys))
        else:
            waiting.extend((child, node.level - 1) for child in reversed(node.children))
    return found


def _symbols(
    image: Image, address: int, heap: _Heap, room: Room, what: str
) -> tuple[list[Link], int]:
    """Links of a node, and where the name of the last one lies."""
    entry = 2 * image.offset_size + 24
    data = image.take(address, 8 + 2 * room.leaf * entry, f"a symbol node of {what}")
    fields = Fields(image, address, data, f"symbol node of {what}")
    fields.expect(b"SNOD\1")
    fields.zeros(1)
    count = fields.integer(2)
    if not 0 < count <= 2 * room.leaf:
        raise fields.damaged("bad_length", f"a symbol node of {what} cannot have {count} links")
    symbols = [_symbol(fields, heap) for _ in range(count)]
    return [link for link, _ in symbols], symbols[-1][1]


def _symbol(fields: Fields, heap: _Heap) -> tuple[Link, int]:
    offset = fields.integer(fields.image.offset_size)
    name = heap.name(offset)
    address = fields.place()
    cached = fields.integer(4)
    fields.zeros(4)
    scratch = fields.raw(16)
    if cached == _SOFT_LINK:
        heap.name(int.from_bytes(scratch[:4], "little"))
        return Link(name, LinkKind.SOFT, 0), offset
    if address is None or cached > _SOFT_LINK:
        raise fields.damaged("bad_address", f"a link in {fields.what} leads nowhere")
    return Link(name, LinkKind.HARD, address), offset


class _Heap:
    """Names of a group, each padded to eight bytes, and free blocks between them.

    The padding is what was there before: names are written over those that were removed.
    """

    def __init__(self, image: Image, address: int, what: str) -> None:
        length, width = image.length_size, image.offset_size
        name = f"the heap of names of {what}"
        fields = Fields(image, address, image.take(address, 8 + 2 * length + width, name), name)
        fields.expect(b"HEAP\0")
        fields.zeros(3)
        size, free, start = fields.length(), fields.length(), fields.defined()
        self._data = Fields(image, start, image.take(start, size, name), name)
        # The first name is empty: keys of trees lead to it.
        self._used = {0: 8}
        self._follow(free)

    def _follow(self, free: int) -> None:
        """Follow the free blocks: they end, and lie in the heap."""
        heap, length = self._data, self._data.image.length_size
        while free not in (_NO_FREE_BLOCK, (1 << 8 * length) - 1):
            heap.at = min(free, len(heap.data))
            following, size = heap.length(), heap.length()
            if size < 2 * length or free + size > len(heap.data) or free in self._used:
                raise heap.damaged("bad_length", f"{heap.what} has a free block that is none")
            self._used[free] = size
            free = following

    def name(self, offset: int) -> bytes:
        """Name at an offset."""
        heap, data = self._data, self._data.data
        end, step = -1, 64
        while end < 0:
            piece = bytes(data[offset : offset + step])
            end = piece.find(b"\0")
            if end < 0 and offset + step >= len(data):
                raise heap.damaged("bad_name", f"a name in {heap.what} has no end")
            step *= 2
        size = end + 1 + (-(end + 1) % 8)
        if offset % 8:
            raise heap.damaged("bad_name", f"a name in {heap.what} is not where names begin")
        self._used[offset] = size
        return piece[:end]

    def left(self) -> list[Damaged]:
        """Name stretches that are neither free nor a name which was asked for.

        A name of one block that was removed leaves a block which no list of free ones holds.
        """
        at = 0
        failures = []
        for start, size in [*sorted(self._used.items()), (len(self._data.data), 0)]:
            if start - at > _LOST_BLOCK:
                self._data.at = at
                detail = f"{self._data.what} holds names that no link has any more"
                failures.append(self._data.damaged("lost_links", detail))
            at = max(at, start + size)
        return failures
