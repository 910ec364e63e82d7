"""The file ``checkpoint`` that Orbax wrote until 2024: the tree, and leaves that are in it.

A leaf that is an array of its own is a text there, ``PLACEHOLDER://`` and the name of the array.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from forensics.errors import Damaged
from forensics.sources.checkpoints.orbax.elements import KNOWN, element
from forensics.sources.checkpoints.orbax.msgpack import ARRAY, SCALAR, Extension, unpack
from forensics.sources.checkpoints.stored_tensor import PIECE, StoredTensor
from forensics.sources.checkpoints.strict_json import sizes

AGGREGATE = "checkpoint"
_PLACEHOLDER = "PLACEHOLDER://"
_MAX_LEAVES = 500_000


@dataclass(slots=True)
class Aggregate:
    """What the file holds: names of leaves by the keys of their arrays, and leaves themselves."""

    names: dict[str, str] = field(default_factory=dict)
    tensors: list[StoredTensor] = field(default_factory=list)


def read_aggregate(data: bytes, path: str) -> Aggregate:
    """Read such a file; names are not prefixed.

    Raises
    ------
    Damaged
        It is none.
    """
    found = Aggregate()
    tree = unpack(data, path)
    if not isinstance(tree, dict):
        raise Damaged(path, 0, "bad_msgpack", "this is no tree")
    for count, (keys, leaf) in enumerate(_leaves(tree, ())):
        if count >= _MAX_LEAVES:
            raise Damaged(path, 0, "limit", f"a tree of more than {_MAX_LEAVES} leaves")
        name = "/".join(keys)
        if isinstance(leaf, str) and leaf.startswith(_PLACEHOLDER):
            found.names[leaf.removeprefix(_PLACEHOLDER)] = name
        elif isinstance(leaf, Extension) and leaf.type in (ARRAY, SCALAR):
            found.tensors.append(_array(data, leaf, name, path))
        elif isinstance(leaf, bool | int | float):
            found.tensors.append(_number(leaf, name))
    return found


def _leaves(tree: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(tree, dict):
        for key, item in tree.items():
            yield from _leaves(item, (*keys, key))
    elif isinstance(tree, list):
        for number, item in enumerate(tree):
            yield from _leaves(item, (*keys, str(number)))
    else:
        yield keys, tree


def _array(data: bytes, leaf: Extension, name: str, path: str) -> StoredTensor:
    packed = unpack(data, path, leaf.first, leaf.last)
    shape, dtype, content = packed if isinstance(packed, list) and len(packed) == 3 else (0, 0, 0)
    dimensions = sizes(shape)
    if dimensions is None or dtype not in KNOWN or not isinstance(content, bytes):
        detail = f"{name!r} is no array of a known dtype"
        raise Damaged(path, leaf.first, "bad_array", detail)
    if math.prod(dimensions) * element(dtype).itemsize != len(content):
        detail = f"{name!r} takes {len(content)} bytes, its dtype and shape need other ones"
        raise Damaged(path, leaf.first, "bad_shape", detail)
    return StoredTensor(name, dimensions, dtype, partial(_pieces, content))


def _number(value: float, name: str) -> StoredTensor:
    kind = "bool" if isinstance(value, bool) else "int64" if isinstance(value, int) else "float64"
    if kind == "int64" and not -(1 << 63) <= value < 1 << 63:
        kind = "uint64"
    return StoredTensor(name, (), kind, partial(_pieces, np.array(value, kind).tobytes()))


def _pieces(content: bytes) -> Iterator[memoryview]:
    for start in range(0, len(content), PIECE):
        yield memoryview(content)[start : start + PIECE]
