"""Bytes of a bundle's data shard that belong to no tensor of its index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from forensics.domain.run import ReadWarning
from forensics.sources.checkpoints.bundle_entries import Entry
from forensics.sources.checkpoints.file_pieces import read_piece
from forensics.sources.storage.blob import Blob

_PADDING = 4096
"""Zero bytes between two tensors that a writer may have put there to align the second one."""


def unaccounted(blob: Blob, entries: Iterable[Entry]) -> ReadWarning | None:
    """Describe what no entry of the shard covers; None where all is covered, or padding.

    TensorFlow writes one tensor after the other: what is left over was in an index that is lost, or
    does not belong there. No checksum covers either.

    Raises
    ------
    Damaged
        It cannot be read.
    """
    gaps = [gap for gap in _gaps(blob.size, entries) if not _is_padding(blob, *gap)]
    if not gaps:
        return None
    total = sum(end - start for start, end in gaps)
    detail = f"{total} bytes of it belong to no tensor that the index names"
    return ReadWarning(blob.name, gaps[0][0], "unaccounted_bytes", detail)


def _gaps(size: int, entries: Iterable[Entry]) -> Iterator[tuple[int, int]]:
    end = 0
    for entry in sorted(entries, key=lambda e: e.offset):
        if entry.size:
            if entry.offset > end:
                yield end, min(entry.offset, size)
            end = max(end, entry.offset + entry.size)
    if end < size:
        yield end, size


def _is_padding(blob: Blob, start: int, end: int) -> bool:
    return end <= start or (
        end - start < _PADDING and not any(read_piece(blob, start, end - start))
    )
