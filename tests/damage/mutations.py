"""Damage of every kind, the same for the same seed: what disks, copies and attackers do."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence

Mutation = Callable[[bytearray, random.Random], None]

_EXTREMES = (
    0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 33,
    1 << 40, 1 << 56, (1 << 63) - 1, 1 << 63, (1 << 64) - 8, (1 << 64) - 1,
)  # fmt: skip


def flip_bit(data: bytearray, source: random.Random) -> None:
    data[source.randrange(len(data))] ^= 1 << source.randrange(8)


def set_byte(data: bytearray, source: random.Random) -> None:
    data[source.randrange(len(data))] ^= source.randrange(1, 256)


def set_several(data: bytearray, source: random.Random) -> None:
    for _ in range(source.randint(2, 16)):
        data[source.randrange(len(data))] = source.randrange(256)


def truncate(data: bytearray, source: random.Random) -> None:
    del data[source.randrange(len(data)) :]


def zero(data: bytearray, source: random.Random) -> None:
    start, count = _span(data, source, (4, 16, 64, 512, 4096))
    data[start : start + count] = bytes(count)


def ones(data: bytearray, source: random.Random) -> None:
    start, count = _span(data, source, (1, 2, 4, 8, 64))
    data[start : start + count] = b"\xff" * count


def extreme(data: bytearray, source: random.Random) -> None:
    """A field of one to eight bytes becomes a number at which sums and products overflow."""
    start, width = _span(data, source, (1, 2, 4, 8))
    value = source.choice(_EXTREMES) & ((1 << 8 * width) - 1)
    order = "little" if source.random() < 0.8 else "big"
    data[start : start + width] = value.to_bytes(width, order)  # type: ignore[arg-type]


def endless_varint(data: bytearray, source: random.Random) -> None:
    """Continuation bits without end, or a number just at the end of what a field can hold."""
    start, width = _span(data, source, (2, 5, 9, 10, 11))
    data[start : start + width] = b"\xff" * (width - 1) + source.choice((b"\x01", b"\x7f", b"\xff"))


def overwrite(data: bytearray, source: random.Random) -> None:
    """A block is written once more elsewhere, over what was there."""
    start, count = _span(data, source, (4, 32, 256, 1024))
    target = source.randrange(len(data))
    data[target : target + count] = data[start : start + count]


def swap(data: bytearray, source: random.Random) -> None:
    first, count = _span(data, source, (1, 8, 64, 256))
    second = source.randrange(len(data) - count + 1)
    data[first : first + count], data[second : second + count] = (
        data[second : second + count],
        data[first : first + count],
    )


def delete(data: bytearray, source: random.Random) -> None:
    start, count = _span(data, source, (1, 4, 16, 256))
    del data[start : start + count]


def insert(data: bytearray, source: random.Random) -> None:
    start = source.randrange(len(data) + 1)
    data[start:start] = source.randbytes(source.randint(1, 64))


def duplicate(data: bytearray, source: random.Random) -> None:
    start, count = _span(data, source, (1, 16, 256, 1024))
    target = source.randrange(len(data) + 1)
    data[target:target] = data[start : start + count]


def append(data: bytearray, source: random.Random) -> None:
    data += source.randbytes(source.randint(1, 512))


SAME_SIZE: tuple[Mutation, ...] = (
    flip_bit, set_byte, set_several, zero, ones, extreme, endless_varint, overwrite, swap
)  # fmt: skip
ALL: tuple[Mutation, ...] = (*SAME_SIZE, truncate, delete, insert, duplicate, append)
DOUBLING = frozenset({"overwrite", "swap", "duplicate"})
"""What may leave a whole record, with its checksums, in a second place: no reader can tell."""


def mutated(content: bytes, seed: str, among: Sequence[Mutation] = ALL) -> tuple[bytes, str]:
    """Another content, and the name of what was done to it: the same for the same arguments."""
    source = random.Random(f"{seed}:{hashlib.sha256(content).hexdigest()}")
    while True:
        mutation, data = source.choice(among), bytearray(content)
        mutation(data, source)
        if data != content:
            return bytes(data), mutation.__name__


def _span(data: bytearray, source: random.Random, sizes: Sequence[int]) -> tuple[int, int]:
    count = min(len(data), source.choice(sizes))
    return source.randrange(len(data) - count + 1), count
