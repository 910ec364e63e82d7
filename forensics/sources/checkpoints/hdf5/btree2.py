"""Records of version 2 B-trees: links and attributes of newer groups, chunks, huge objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from forensics.sources.checkpoints.hdf5.fields import Fields
from forensics.sources.checkpoints.hdf5.image import Image

_OVERHEAD = 10
"""Signature, version, type and checksum of a node."""
_MAX_DEPTH = 32


def bytes_for(limit: int) -> int:
    """Bytes that hold numbers up to `limit` (libhdf5's H5VM_limit_enc_size)."""
    return (max(limit, 1).bit_length() - 1) // 8 + 1


@dataclass(frozen=True, slots=True)
class _Tree:
    """Header of a tree; widths of the counts in child pointers, by the level of the child."""

    image: Image
    kind: int
    node_size: int
    record_size: int
    count_size: int
    total_sizes: tuple[int, ...]
    what: str


def read_records(image: Image, address: int, kind: int, what: str) -> Iterator[Fields]:
    """Walk the records of a tree in order.

    Raises
    ------
    Damaged
        A node contradicts itself or what leads to it, or its checksum does not fit.
    """
    size = 22 + image.offset_size + image.length_size
    fields = Fields(image, address, image.take(address, size, what), f"header of {what}")
    fields.expect(b"BTHD\0" + bytes([kind]))
    node_size, record_size, depth = fields.integer(4), fields.integer(2), fields.integer(2)
    fields.raw(2)
    root, count, total = fields.place(), fields.integer(2), fields.length()
    fields.verify()
    if depth > _MAX_DEPTH or not 0 < record_size < node_size - _OVERHEAD:
        raise fields.damaged("bad_tree", f"{what} has nodes of an impossible size")
    if root is None or not count:
        if total:
            raise fields.damaged("bad_tree", f"{what} has {total} records and no node")
        return
    tree = _tree(image, kind, node_size, record_size, depth, what)
    found = 0
    for record in _records(tree, root, count, depth):
        found += 1
        yield record
    if found != total:
        raise fields.damaged("bad_tree", f"{what} holds {found} of {total} records")


def _tree(
    image: Image, kind: int, node_size: int, record_size: int, depth: int, what: str
) -> _Tree:
    """Work out how wide counts are, from how many records nodes of each level have room for."""
    most = (node_size - _OVERHEAD) // record_size
    count_size, below, totals = bytes_for(most), most, [0]
    for _ in range(depth):
        pointer = image.offset_size + count_size + totals[-1]
        most = max(0, node_size - _OVERHEAD - pointer) // (record_size + pointer)
        below = (most + 1) * below + most
        totals.append(bytes_for(below))
    return _Tree(image, kind, node_size, record_size, count_size, tuple(totals), what)


def _records(tree: _Tree, root: int, count: int, depth: int) -> Iterator[Fields]:
    """Walk in order; what waits is a node, or a record between two nodes."""
    waiting: list[Fields | tuple[int, int, int]] = [(root, count, depth)]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Fields):
            yield item
            continue
        records, children = _node(tree, *item)
        if not children:
            yield from records
            continue
        waiting.append(children[-1])
        for child, record in zip(children[-2::-1], reversed(records), strict=True):
            waiting.extend((record, child))


def _node(
    tree: _Tree, address: int, count: int, level: int
) -> tuple[list[Fields], list[tuple[int, int, int]]]:
    what = f"node of {tree.what}"
    data = tree.image.take(address, tree.node_size, what)
    fields = Fields(tree.image, address, data, what)
    fields.expect((b"BTIN" if level else b"BTLF") + bytes([0, tree.kind]))
    records = []
    for _ in range(count):
        start = address + fields.at
        records.append(Fields(tree.image, start, fields.raw(tree.record_size), tree.what))
    children = []
    for _ in range(count + 1 if level else 0):
        child, below = fields.defined(), fields.integer(tree.count_size)
        fields.raw(tree.total_sizes[level - 1])
        children.append((child, below, level - 1))
    fields.verify()
    return records, children
