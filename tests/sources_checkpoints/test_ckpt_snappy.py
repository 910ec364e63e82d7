"""Compressed blocks of a table: read like plain ones, and never more than they promise."""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.errors import Damaged
from forensics.sources.checkpoints.bundle_index import BundleIndex, read_index
from forensics.sources.checkpoints.snappy import decompress

DATA = Path(__file__).resolve().parents[1] / "data" / "checkpoints"


def without_places(index: BundleIndex) -> object:
    return index.shards, [replace(entry, at=0) for entry in index.entries]


def test_an_index_with_compressed_blocks_is_the_same_index() -> None:
    plain = read_index((DATA / "adam" / "ckpt-1.index").read_bytes(), "i")
    packed = read_index((DATA / "snappy.index").read_bytes(), "i")
    assert without_places(packed) == without_places(plain)


def test_every_prefix_and_every_flipped_bit_is_damaged() -> None:
    whole = (DATA / "snappy.index").read_bytes()
    expected = without_places(read_index(whole, "i"))
    for at in range(len(whole)):
        with pytest.raises(Damaged):
            read_index(whole[:at], "i")
        mutant = bytearray(whole)
        mutant[at] ^= 1 << at % 8
        try:
            found = read_index(bytes(mutant), "i")
        except Damaged as error:
            assert 0 <= error.offset <= len(whole)
        else:  # Padding of the footer means nothing.
            assert without_places(found) == expected


# Made by the snappy library.
KNOWN = [
    ("00", b""),
    ("0a2461616161616161616161", b"a" * 10),
    ("640061fe01008a0100", b"a" * 100),
    ("0614616261626162", b"ab" * 3),
    ("1e0461626e0200", b"ab" * 15),
]


@pytest.mark.parametrize(("packed", "plain"), KNOWN)
def test_known_streams(packed: str, plain: bytes) -> None:
    assert decompress(bytes.fromhex(packed), "f", 0) == plain


@pytest.mark.parametrize(
    ("packed", "kind"),
    [
        ("ffffffff0f00", "limit"),
        ("80808080808080808080808001", "bad_wire"),
        ("0500", "bad_compression"),
        ("0510616263", "bad_compression"),
        ("04006101020c", "bad_compression"),
        ("0400610100", "bad_compression"),
        ("0500610505", "bad_compression"),
        ("0100610061", "bad_compression"),
        ("05f4", "bad_compression"),
        ("0402", "bad_compression"),
    ],
)
def test_streams_that_nothing_writes(packed: str, kind: str) -> None:
    with pytest.raises(Damaged) as raised:
        decompress(bytes.fromhex(packed), "f", 7)
    assert raised.value.kind == kind
    assert raised.value.offset >= 7


@given(st.binary(max_size=80), st.integers(0, 2**32))
def test_anything_is_bounded_and_typed(data: bytes, seed: int) -> None:
    size = random.Random(seed).randrange(1 << 14)
    data = bytes([size & 127 | 128, size >> 7]) + data
    with contextlib.suppress(Damaged):
        assert len(decompress(data, "f", 0)) == size
