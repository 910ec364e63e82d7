"""The filter pipeline of chunks: deflate, shuffle and Fletcher's checksum are undone."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from forensics.sources.checkpoints.hdf5.fields import Fields

_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3
_KNOWN = frozenset({_DEFLATE, _SHUFFLE, _FLETCHER32})
_FOREIGN = frozenset({4, 5, 6, 32000})
"""szip, n-bit, scale-offset and h5py's lzf, which are left to libhdf5."""
_OWN_NAMES = 256
"""Filters from this number on carry a name even in version 2."""
DEFLATE_RATIO = 1032
"""No deflate stream expands further (zlib's technical details)."""


class BadChunk(Exception):
    """A chunk's bytes do not fit its filters; says why."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Filters in the order in which a writer applies them; ``element`` is shuffle's size."""

    filters: tuple[int, ...] = ()
    element: int = 1

    @property
    def foreign(self) -> bool:
        """Whether only libhdf5 can undo them."""
        return not _FOREIGN.isdisjoint(self.filters)

    @property
    def deflates(self) -> bool:
        """Whether chunks are stored shorter than they are."""
        return _DEFLATE in self.filters or self.foreign

    def undo(self, data: bytes | memoryview, mask: int, size: int) -> bytes | memoryview:
        """Return the `size` bytes of a chunk from what is stored.

        Parameters
        ----------
        mask : int
            Bit i is set where filter i was left out.

        Raises
        ------
        BadChunk
            They are not what was written, or not as many.
        """
        for index in reversed(range(len(self.filters))):
            if mask >> index & 1:
                continue
            kind = self.filters[index]
            if kind == _FLETCHER32:
                data = _verified(data)
            elif kind == _DEFLATE:
                # A checksum that was added before is inflated too.
                data = _inflated(data, size + 4 * self.filters.count(_FLETCHER32))
            else:
                data = _unshuffled(data, self.element)
        if len(data) != size:
            raise BadChunk(f"it holds {len(data)} of {size} bytes")
        return data


def read_pipeline(fields: Fields) -> Pipeline:
    """Read a filter pipeline message.

    Raises
    ------
    Damaged
        It is none; ``unsupported`` where a filter is none of those that libhdf5 and h5py have.
    """
    version, count = fields.integer(1), fields.integer(1)
    if version not in (1, 2) or count > 32:
        raise fields.damaged("bad_version", f"the filters of {fields.what} are none")
    if version == 1:
        fields.zeros(6)
    filters, element = [], 1
    for _ in range(count):
        kind = fields.integer(2)
        named = fields.integer(2) if version == 1 or kind >= _OWN_NAMES else 0
        fields.integer(2)
        values = fields.integer(2)
        name = fields.raw(named + (-named % 8 if version == 1 else 0))
        if kind not in _KNOWN | _FOREIGN:
            label = bytes(name).partition(b"\0")[0].decode("ascii", "replace")
            raise fields.damaged(
                "unsupported", f"{fields.what} needs filter {kind} {label}".strip()
            )
        client = [fields.integer(4) for _ in range(values)]
        if version == 1 and values % 2:
            fields.raw(4)
        filters.append(kind)
        if kind == _SHUFFLE and client:
            element = client[0]
    if not element:
        raise fields.damaged("bad_length", f"{fields.what} shuffles elements without bytes")
    return Pipeline(tuple(filters), element)


def _inflated(data: bytes | memoryview, most: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, most + 1)
    except zlib.error as error:
        raise BadChunk(f"it cannot be inflated: {error}") from None
    if len(found) > most or not stream.eof:
        raise BadChunk("its stream does not end where it should")
    return found


def _unshuffled(data: bytes | memoryview, element: int) -> bytes | memoryview:
    """Bytes of elements brought together again; what is no whole element stays at the end."""
    count = len(data) // element
    if element == 1 or count < 2:
        return data
    whole = np.frombuffer(data, np.uint8, count * element).reshape(element, count)
    return whole.T.tobytes() + bytes(data[count * element :])


def _verified(data: bytes | memoryview) -> memoryview:
    view = memoryview(data)
    if len(view) < 4:
        raise BadChunk("it has no room for its checksum")
    stated = int.from_bytes(view[-4:], "little")
    computed = fletcher32(view[:-4])
    # Releases before 1.6.3 wrote the bytes of each half swapped; libhdf5 takes both.
    swapped = (computed & 0x00FF00FF) << 8 | (computed >> 8 & 0x00FF00FF)
    if stated not in (computed, swapped):
        raise BadChunk("its checksum does not fit")
    return view[:-4]


def fletcher32(data: bytes | memoryview) -> int:
    """Fletcher's checksum of big-endian 16-bit words, as libhdf5's H5_checksum_fletcher32.

    Sums are kept in one's complement, modulo 65535 with 65535 for any multiple but zero itself.
    """
    words = np.frombuffer(data, ">u2", len(data) // 2).astype(np.uint64)
    if len(data) % 2:
        words = np.append(words, np.uint64(data[-1] << 8))
    first = int(words.sum())
    weights = np.arange(words.size, 0, -1, dtype=np.uint64) % 65535
    second = int((words * weights % 65535).sum())
    # Whether all words are zero decides which of the two zeros stands.
    return _folded(second, bool(first)) << 16 | _folded(first, bool(first))


def _folded(value: int, positive: bool) -> int:
    return value % 65535 or (65535 if positive else 0)
