"""Nodes of version 1 B-trees: for the names of older groups, and for chunks of datasets."""

from __future__ import annotations

from dataclasses import dataclass

from forensics.sources.checkpoints.hdf5.fields import Fields
from forensics.sources.checkpoints.hdf5.image import Image


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its children, and one more key than those."""

    level: int
    keys: list[memoryview]
    children: list[int]


def read_node(
    image: Image, address: int, kind: int, level: int | None, key_size: int, most: int, what: str
) -> Node:
    """Read a node.

    Parameters
    ----------
    kind : int
        0 for names, 1 for chunks.
    level : int or None
        Of the node, None for any: below a node lie those of the next lower level, so that no tree
        is endless.
    key_size : int
        Bytes of a key.
    most : int
        Children that a node has room for.
    """
    width = image.offset_size
    size = 8 + 2 * width + most * (key_size + width) + key_size
    fields = Fields(
        image, address, image.take(address, size, f"a node of {what}"), f"node of {what}"
    )
    fields.expect(b"TREE" + bytes([kind]))
    found, count = fields.integer(1), fields.integer(2)
    if count > most or (level is not None and found != level):
        raise fields.damaged("bad_tree", f"a node of {what} is not where it belongs")
    fields.raw(2 * width)
    keys, children = [fields.raw(key_size)], []
    for _ in range(count):
        children.append(fields.defined())
        keys.append(fields.raw(key_size))
    return Node(found, keys, children)
