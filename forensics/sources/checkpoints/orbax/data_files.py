"""Tables of the data files that a record of an OCDBT database refers to."""

from __future__ import annotations

from dataclasses import dataclass

from forensics.sources.checkpoints.orbax.decoder import Decoder

_MAX_PATH = 65_535
_PATH_BITS = 16
_MOST_BYTES = 16 << 20
"""Of the paths in one table."""
MISSING = (1 << 64) - 1
"""Offset and length of a reference to nothing."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file: its path below the database, and the part that its own references inherit."""

    base: str
    path: str


@dataclass(frozen=True, slots=True)
class Reference:
    """Bytes in a data file."""

    file: DataFile
    offset: int
    size: int


def read_table(record: Decoder, base: str) -> list[DataFile]:
    """Read a table; paths are prefix-compressed and relative to the path `base` of the parent.

    Raises
    ------
    Damaged
        It is none, or a path leads out of the database.
    """
    count = record.number()
    prefixes = [0, *record.numbers(count - 1, _PATH_BITS)] if count else []
    suffixes = record.numbers(count, _PATH_BITS)
    bases = record.numbers(count, _PATH_BITS)
    files: list[DataFile] = []
    last, total = b"", 0
    for prefix, suffix, base_size in zip(prefixes, suffixes, bases, strict=True):
        if prefix > len(last) or prefix + suffix > _MAX_PATH or base_size > prefix + suffix:
            raise record.fail("bad_path", "the lengths of a path contradict each other")
        last = last[:prefix] + record.bytes(suffix)
        total += len(last)
        if total > _MOST_BYTES:
            raise record.fail("limit", f"paths of data files take more than {_MOST_BYTES} bytes")
        files.append(DataFile(*_path(record, base, last, base_size)))
    return files


def _path(record: Decoder, base: str, path: bytes, base_size: int) -> tuple[str, str]:
    try:
        own_base, rest = path[:base_size].decode(), path[base_size:].decode()
    except UnicodeDecodeError:
        raise record.fail("bad_path", "the path of a data file is not UTF-8") from None
    whole = base + own_base + rest
    if whole.startswith("/") or "\0" in whole or "\\" in whole or ".." in whole.split("/"):
        raise record.fail("bad_path", f"a data file lies outside of its database ({whole[:80]!r})")
    return base + own_base, whole


def read_references(record: Decoder, files: list[DataFile], count: int) -> list[Reference | None]:
    """Read columns of references; one to nothing is None.

    Raises
    ------
    Damaged
        One leads nowhere.
    """
    chosen = [_file(record, files, number) for number in record.numbers(count)]
    offsets = record.numbers(count)
    sizes = record.numbers(count)
    return [
        None if offset == MISSING and size == MISSING else _reference(record, file, offset, size)
        for file, offset, size in zip(chosen, offsets, sizes, strict=True)
    ]


def _file(record: Decoder, files: list[DataFile], number: int) -> DataFile:
    if number >= len(files):
        raise record.fail("bad_reference", f"data file {number} of {len(files)}")
    return files[number]


def _reference(record: Decoder, file: DataFile, offset: int, size: int) -> Reference:
    if offset + size >= 1 << 63:
        raise record.fail("bad_offset", "a reference leads beyond any file")
    return Reference(file, offset, size)


def read_values(record: Decoder, files: list[DataFile], sizes: list[int]) -> list[Reference]:
    """Read columns of references whose sizes are known already."""
    chosen = [_file(record, files, number) for number in record.numbers(len(sizes))]
    offsets = record.numbers(len(sizes))
    return [
        _reference(record, file, offset, size)
        for file, offset, size in zip(chosen, offsets, sizes, strict=True)
    ]
