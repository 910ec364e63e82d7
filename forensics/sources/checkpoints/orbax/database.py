"""Keys and values of an OCDBT database: the newest version in its manifest, read from its root.

See `ocdbt_record` for the reference. Values are answered as places: small ones lie in a node, the
others in a data file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from forensics.sources.checkpoints.orbax.data_files import (
    DataFile,
    Reference,
    read_references,
    read_table,
    read_values,
)
from forensics.sources.checkpoints.orbax.decoder import Decoder
from forensics.sources.checkpoints.orbax.ocdbt_record import MANIFEST, TREE_NODE, open_record
from forensics.sources.checkpoints.orbax.span import Span

NUMBERED = 1
_UUID_BYTES = 16
_INLINE, _OUT_OF_LINE = 0, 1
_KEY_BITS = 16
_MAX_ARITY_LOG2 = 16
_MAX_HEIGHT = 32
_MAX_ENTRIES = 500_000
"""Of all nodes together: some 1,000 arrays saved by 256 processes each."""
_MAX_KEY_BYTES = 64 << 20

Value = bytes | Reference
Reader = Callable[[Reference], Span]
"""Finds bytes in a data file of the database."""


@dataclass(frozen=True, slots=True)
class Root:
    """The newest version: its tree, None where it is empty, and the tree's height."""

    node: Reference | None
    height: int


def read_manifest(data: bytes | memoryview, path: str) -> Root | None:
    """Read a manifest; None where the versions are in numbered manifests beside it.

    Raises
    ------
    Damaged
        It is none.
    """
    record = open_record(data, MANIFEST, path, 0)
    record.bytes(_UUID_BYTES)
    kind = record.byte()
    record.numbers(2, 32)  # Largest inline value, largest decoded node.
    arity = record.byte()
    if not 1 <= arity <= _MAX_ARITY_LOG2 or kind not in (0, NUMBERED):
        raise record.fail("bad_manifest", "the settings of the database are out of range")
    _skip_compression(record)
    if kind == NUMBERED:
        record.end()
        return None
    files = read_table(record, "")
    root = _newest(record, files, 1 << arity)
    _skip_older(record, files)
    record.end()
    return root


def _skip_compression(record: Decoder) -> None:
    method = record.number(32)
    if method == 1:
        record.bytes(4)  # Level.
    elif method:
        raise record.fail("unsupported", f"compression method {method} of OCDBT is not read")


def _newest(record: Decoder, files: list[DataFile], most: int) -> Root:
    """Read the inline versions, which are in ascending order."""
    count = record.number()
    if not 1 <= count <= most:
        raise record.fail("bad_count", f"{count} versions where 1 to {most} are possible")
    generations = record.numbers(count)
    if generations[0] == 0 or any(a >= b for a, b in pairwise(generations)):
        raise record.fail("bad_order", "versions are not in order")
    heights = record.bytes(count)
    roots = read_references(record, files, count)
    for _ in range(3):  # Statistics.
        record.numbers(count)
    record.fixed64s(count)  # Times.
    return Root(roots[-1], heights[-1])


def _skip_older(record: Decoder, files: list[DataFile]) -> None:
    count = record.number()
    record.numbers(count)
    read_references(record, files, count)
    record.numbers(count)
    record.fixed64s(count)
    record.bytes(count)


class Database:
    """Everything that is stored, by key; read as a whole when made.

    Parameters
    ----------
    root : Root
        From the manifest.
    find : callable
        Finds bytes in a data file.

    Attributes
    ----------
    values : dict
        Bytes, or the place of them, by key.

    Raises
    ------
    Damaged, OSError
        A node is not what it should be, or cannot be read.
    """

    def __init__(self, root: Root, find: Reader) -> None:
        self.values: dict[str, Value] = {}
        self._find, self._entries, self._key_bytes = find, 0, 0
        if root.node is not None:
            self._read(root.node, root.height, b"")

    def _read(self, place: Reference, height: int, prefix: bytes) -> None:
        span = self._find(place)
        node = open_record(span.read(), TREE_NODE, span.path, place.offset)
        if node.byte() != height or height > _MAX_HEIGHT:
            raise node.fail("bad_height", f"a node is not at height {height}, where it is used")
        files = read_table(node, place.file.base)
        count = node.number(32)
        self._entries += count
        if not count:
            raise node.fail("bad_count", "a node without entries")
        if self._entries > _MAX_ENTRIES:
            raise node.fail("limit", f"the tree has more than {_MAX_ENTRIES} entries")
        if height:
            self._interior(node, files, count, height, prefix)
        else:
            self._leaf(node, files, count, prefix)

    def _interior(
        self, node: Decoder, files: list[DataFile], count: int, height: int, prefix: bytes
    ) -> None:
        keys, common = _keys(node, count, interior=True)
        children = read_references(node, files, count)
        for _ in range(3):  # Statistics.
            node.numbers(count)
        node.end()
        for key, shared, child in zip(keys, common, children, strict=True):
            if child is None or shared > len(key):
                raise node.fail("bad_reference", "a node has no child, or not under its key")
            self._read(child, height - 1, prefix + key[:shared])

    def _leaf(self, node: Decoder, files: list[DataFile], count: int, prefix: bytes) -> None:
        keys, _ = _keys(node, count, interior=False)
        sizes = node.numbers(count)
        kinds = node.bytes(count)
        if any(kind not in (_INLINE, _OUT_OF_LINE) for kind in kinds):
            raise node.fail("bad_value", "a value is neither in its node nor in a file")
        outside = [size for size, kind in zip(sizes, kinds, strict=True) if kind]
        places = iter(read_values(node, files, outside))
        for key, size, kind in zip(keys, sizes, kinds, strict=True):
            value: Value = next(places) if kind else node.bytes(size)
            self._add(node, prefix + key, value)
        node.end()

    def _add(self, node: Decoder, key: bytes, value: Value) -> None:
        self._key_bytes += len(key)
        if self._key_bytes > _MAX_KEY_BYTES:
            raise node.fail("limit", f"keys take more than {_MAX_KEY_BYTES} bytes")
        try:
            name = key.decode()
        except UnicodeDecodeError:
            raise node.fail("bad_key", "a key is not UTF-8") from None
        if name in self.values:
            raise node.fail("duplicate_key", f"the key {name[:80]!r} is there twice")
        self.values[name] = value


def _keys(node: Decoder, count: int, *, interior: bool) -> tuple[list[bytes], list[int]]:
    """Read prefix-compressed keys, and of an interior node what a child's keys have in common."""
    prefixes = [0, *node.numbers(count - 1, _KEY_BITS)]
    suffixes = node.numbers(count, _KEY_BITS)
    common = node.numbers(count, _KEY_BITS) if interior else []
    keys: list[bytes] = []
    last, total = b"", 0
    for prefix, suffix in zip(prefixes, suffixes, strict=True):
        if prefix > len(last):
            raise node.fail("bad_key", "a key shares more with the one before it than that has")
        key = last[:prefix] + node.bytes(suffix)
        total += len(key)
        if (keys and key <= last) or total > _MAX_KEY_BYTES:
            raise node.fail("bad_order", "keys are not in order, or far larger than their node")
        keys.append(key)
        last = key
    return keys, common
