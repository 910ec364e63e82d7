"""The ``.index`` of a tensor bundle as a whole: all entries, checked against each other."""

from __future__ import annotations

from dataclasses import dataclass

from forensics.errors import Damaged
from forensics.sources.checkpoints.bundle_entries import Entry, EntryParser
from forensics.sources.checkpoints.bundle_slices import Slice, slices_of
from forensics.sources.checkpoints.bundle_table import Row, Table
from forensics.sources.checkpoints.ordered_code import slice_key
from forensics.sources.typed_fields import fields, message_field, number_field

_VERSION = 1
"""``kTensorBundleVersion``: what this reader, like TensorFlow's, can read."""


@dataclass(frozen=True, slots=True)
class BundleIndex:
    """All entries of an index; slices by the name of the variable that they are parts of."""

    shards: int
    entries: tuple[Entry, ...]
    slices: dict[str, tuple[Slice, ...]]
    partial: bool = False
    """Whether a part of it was broken, so that there may be more tensors."""

    @property
    def stored(self) -> list[Entry]:
        """Entries that have bytes of their own, in the order of the index."""
        parts = [part.entry for slices in self.slices.values() for part in slices]
        return [entry for entry in self.entries if not entry.slices] + parts


def read_index(data: bytes, path: str, lost: list[Damaged] | None = None) -> BundleIndex:
    """Parse an index.

    Parameters
    ----------
    data : bytes
        The whole file.
    path : str
        What to call it in errors.
    lost : list of Damaged, optional
        Takes what is wrong with a block of it; what the other blocks say is kept. Nothing is where
        the first one is broken, which tells how many shards there are.

    Raises
    ------
    Damaged
        Any of it does not hold: framing, checksum, a size that does not fit dtype and shape.
    """
    header, entries = 0, []
    parts: dict[bytes, Row] = {}
    parser = EntryParser(path)
    for row in Table(data, path).entries(lost):
        if row.key == b"":
            header = _shards(row, path)
        elif row.key.startswith(b"\x00"):
            parts[row.key] = row
        else:
            entries.append(parser.parse(_text(row.key, path, row.at), row))
    if header < 1:
        if lost:
            raise lost.pop(0)
        raise Damaged(path, 0, "no_header", "the index has no bundle header")
    if lost:
        entries = [entry for entry in entries if _is_whole(entry, parts)]
    slices = {
        parent.name: _slices(parent, parts, parser, path) for parent in entries if parent.slices
    }
    for row in () if lost else parts.values():
        raise Damaged(path, row.at, "bad_slices", "a slice belongs to no variable")
    index = BundleIndex(header, tuple(entries), slices, partial=bool(lost))
    _check_places(index, path)
    return index


def _shards(row: Row, path: str) -> int:
    """Check the header; how many data shards it promises."""
    shards, endianness, consumer = 1, 0, 0
    for field in fields(row.data, (row.start, row.end), path):
        if field.number == 1:
            shards = number_field(field, path)
        elif field.number == 2:
            endianness = number_field(field, path)
        elif field.number == 3:
            for part in fields(row.data, message_field(field, path), path):
                consumer = number_field(part, path) if part.number == 2 else consumer
    if endianness != 0:
        raise Damaged(path, row.at, "unsupported", "a big-endian bundle is not read")
    if consumer > _VERSION:
        detail = f"it asks for a reader of version {consumer} of the format, this is {_VERSION}"
        raise Damaged(path, row.at, "unsupported", detail)
    if not 1 <= shards <= 99_999:
        raise Damaged(path, row.at, "bad_count", f"{shards} data shards are promised")
    return shards


def _is_whole(entry: Entry, parts: dict[bytes, Row]) -> bool:
    """Whether all slices of an entry are there; one that is not cut has none."""
    return all(slice_key(entry.name, extents) in parts for extents in entry.slices)


def _slices(
    parent: Entry, parts: dict[bytes, Row], parser: EntryParser, path: str
) -> tuple[Slice, ...]:
    """Slices of a partitioned variable, by the keys that they must have; taken out of `parts`."""
    found = []
    for extents in parent.slices:
        row = parts.pop(slice_key(parent.name, extents), None)
        if row is None:
            detail = f"a slice of {parent.name!r} is not there"
            raise Damaged(path, parent.at, "bad_slices", detail)
        found.append((extents, parser.parse(parent.name, row)))
    return slices_of(parent, found, path)


def _check_places(index: BundleIndex, path: str) -> None:
    """No byte of a shard belongs to two tensors."""
    taken: tuple[int, int, str] = (-1, 0, "")
    for entry in sorted(index.stored, key=lambda e: (e.shard, e.offset, e.size)):
        if entry.shard >= index.shards:
            raise Damaged(path, entry.at, "bad_shard", f"{entry.name!r} is in an unknown shard")
        if not entry.size:
            continue
        if entry.shard == taken[0] and entry.offset < taken[1]:
            raise Damaged(path, entry.at, "overlap", f"{entry.name!r} overlaps {taken[2]!r}")
        taken = (entry.shard, entry.offset + entry.size, entry.name)


def _text(raw: bytes, path: str, at: int) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Damaged(path, at, "bad_name", "the name of a tensor is not UTF-8") from None
