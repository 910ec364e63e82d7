"""Slices of partitioned variables: their keys, what does not tile, and the tensor from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.domain.run import CheckpointStatus
from forensics.errors import Damaged
from forensics.sources.checkpoints import bundle_slices
from forensics.sources.checkpoints.bundle_index import read_index
from forensics.sources.checkpoints.ordered_code import WHOLE, slice_key
from forensics.sources.checkpoints.registry import find_checkpoints, open_checkpoint
from forensics.sources.checkpoints.scan import read_checkpoints
from forensics.sources.checksum import crc32c
from forensics.sources.storage.place import Directory
from tests.sources_checkpoints.bundles import SHARD
from tests.sources_checkpoints.encode import bundle_index, entry, message, number

Box = tuple[tuple[int, int], ...]
Array = npt.NDArray[Any]
FLOAT = 1


def proto(extents: Box) -> bytes:
    """A TensorSliceProto; a start of 0 and a whole axis are left out, as protobuf does."""
    made = b""
    for start, length in extents:
        begin = number(1, start) if start else b""
        made += message(1, begin + (b"" if length == WHOLE else number(2, length)))
    return made


def index_of(
    shape: Sequence[int], boxes: Sequence[Box], data: Sequence[bytes], name: str = "w"
) -> bytes:
    slices = b"".join(message(7, proto(box)) for box in boxes)
    entries = [(name.encode(), entry(FLOAT, shape, 0, 0, 0, extra=slices))]
    offset = 0
    for box, raw in zip(boxes, data, strict=True):
        own = [
            size if length == WHOLE else length
            for (_, length), size in zip(box, shape, strict=True)
        ]
        entries.append((slice_key(name, box), entry(FLOAT, own, offset, len(raw), crc32c(raw))))
        offset += len(raw)
    return bundle_index(list(dict(entries).items()))


def cut(whole: Array, box: Box) -> bytes:
    where = tuple(
        slice(start, None if length == WHOLE else start + length) for start, length in box
    )
    return np.ascontiguousarray(whole[where]).tobytes()


def write(folder: Path, whole: Array, boxes: Sequence[Box], name: str = "w") -> None:
    data = [cut(whole, box) for box in boxes]
    (folder / "ckpt-1.index").write_bytes(index_of(whole.shape, boxes, data, name))
    (folder / f"ckpt-1{SHARD}").write_bytes(b"".join(data))


def content(folder: Path) -> bytes:
    place = Directory(folder)
    (form, claim) = next(iter(find_checkpoints(place.survey().files, place)))
    with open_checkpoint(place, form, claim) as checkpoint:
        assert checkpoint.contents.warnings == []
        (tensor,) = checkpoint.stored
        return b"".join(bytes(piece) for piece in tensor.pieces())


def pairs(size: int, cuts: Sequence[int]) -> list[tuple[int, int]]:
    edges = sorted({0, size, *(c for c in cuts if 0 < c < size)})
    return [(a, b - a) for a, b in pairwise(edges)]


@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    cuts=st.lists(st.lists(st.integers(1, 5), max_size=2), min_size=4, max_size=4),
    piece=st.sampled_from([8, 64, 1 << 20]),
    seed=st.integers(0, 99),
)
def test_any_grid_gives_the_tensor(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], cuts: list[list[int]], piece: int,
    seed: int,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("grid")
    axes = [pairs(size, cut) for size, cut in zip(shape, cuts, strict=False)]
    boxes: list[Box] = [()]
    for axis in axes:
        boxes = [(*box, part) for box in boxes for part in axis]
    np.random.default_rng(seed).shuffle(boxes)
    boxes = [tuple((int(a), int(b)) for a, b in box) for box in boxes]
    whole = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    write(folder, whole, boxes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle_slices, "PIECE", piece)
        assert content(folder) == whole.tobytes()


def test_boxes_that_are_no_grid(tmp_path: Path) -> None:
    """Five boxes around each other, like a pinwheel: no straight cut goes through all of it."""
    whole = np.arange(9, dtype=np.float32).reshape(3, 3)
    boxes: list[Box] = [
        ((0, 1), (0, 2)), ((0, 2), (2, 1)), ((2, 1), (1, 2)), ((1, 2), (0, 1)), ((1, 1), (1, 1)),
    ]  # fmt: skip
    write(tmp_path, whole, boxes)
    assert content(tmp_path) == whole.tobytes()


def test_rows_of_a_tall_grid_are_joined_many_at_a_time(tmp_path: Path) -> None:
    """An embedding that is cut along both axes has millions of rows of a few bytes."""
    whole = np.arange(60_000, dtype=np.float32).reshape(20_000, 3)
    boxes: list[Box] = [
        ((start, 10_000), part) for start in (0, 10_000) for part in ((0, 1), (1, 2))
    ]
    write(tmp_path, whole, boxes)
    place = Directory(tmp_path)
    (found,) = find_checkpoints(place.survey().files, place)
    with open_checkpoint(place, *found) as checkpoint:
        pieces = [bytes(piece) for piece in checkpoint.stored[0].pieces()]
    assert (len(pieces), b"".join(pieces)) == (2, whole.tobytes())


@pytest.mark.parametrize(
    "boxes",
    [
        [((0, 2), (0, 4))],
        [((0, 2), (0, 4)), ((1, 2), (0, 4))],
        [((0, 2), (0, 4)), ((0, 2), (0, 4))],
        [((0, 4), (0, 2)), ((0, 4), (1, 2))],
        [((0, 2), (0, 2)), ((0, 2), (2, 2)), ((2, 2), (0, 2)), ((1, 2), (2, 2))],
        [((0, 2), (0, 4)), ((2, 3), (0, 4))],
        [((0, 2), (0, 4)), ((-1, 2), (0, 4))],
        [((0, 4),)],
        [((0, 4), (0, 4), (0, 1))],
        [((0, 2), (0, 4)), ((1 << 62, 2), (0, 4))],
    ],
)
def test_what_does_not_tile_is_damaged(boxes: list[Box]) -> None:
    shape = (4, 4)
    data = [bytes(4 * math.prod(length for _, length in box)) for box in boxes]
    entries = [
        (b"w", entry(FLOAT, shape, 0, 0, 0, extra=b"".join(message(7, proto(b)) for b in boxes)))
    ]
    for place, (box, raw) in enumerate(zip(boxes, data, strict=True)):
        own = entry(FLOAT, [length for _, length in box], 64 * place, len(raw), crc32c(raw))
        entries.append((slice_key("w", box), own))
    with pytest.raises(Damaged) as raised:
        read_index(bundle_index(list(dict(entries).items())), "i")
    assert raised.value.kind == "bad_slices"


def test_a_slice_of_another_dtype_or_of_slices_is_damaged() -> None:
    boxes: list[Box] = [((0, 1),), ((1, 1),)]
    for spoilt in (entry(3, [1], 4, 4, 0), entry(FLOAT, [1], 4, 0, 0, extra=message(7, b""))):
        whole = entry(FLOAT, [2], 0, 0, 0, extra=b"".join(message(7, proto(b)) for b in boxes))
        index = [(b"w", whole), (slice_key("w", boxes[0]), entry(FLOAT, [1], 0, 4, 0))]
        with pytest.raises(Damaged) as raised:
            read_index(bundle_index([*index, (slice_key("w", boxes[1]), spoilt)]), "i")
        assert raised.value.kind == "bad_slices"


def test_a_slice_that_fails_its_checksum_costs_the_variable(tmp_path: Path) -> None:
    whole = np.ones((4, 6), np.float32)
    write(tmp_path, whole, [((0, WHOLE), (0, 2)), ((0, WHOLE), (2, 4))])
    shard = tmp_path / f"ckpt-1{SHARD}"
    for at in (3, 60):
        data = bytearray(whole.tobytes())
        data[at] ^= 1
        shard.write_bytes(data)
        scan = read_checkpoints(Directory(tmp_path))
        assert [c.status for c in scan.checkpoints] == [CheckpointStatus.DAMAGED]
        assert [w.kind for w in scan.warnings] == ["crc_mismatch"]


numbers = st.integers(-(2**62), 2**62) | st.integers(-200, 200)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=3), st.data())
def test_keys_are_ordered_like_what_they_mean(extents: list[tuple[int, int]], data: Any) -> None:
    others = data.draw(
        st.lists(st.tuples(numbers, numbers), min_size=len(extents), max_size=len(extents))
    )
    one, two = slice_key("w", extents), slice_key("w", others)
    assert (one < two) == (extents < others)
    assert (one == two) == (extents == others)


def test_known_keys() -> None:
    """As TensorFlow 2.21 wrote them."""
    assert slice_key("w", [(0, 4), (0, 4)]) == b"\x00w\x00\x01\x01\x02\x80\x84\x80\x84"
    assert slice_key("bytes", [(0, WHOLE)]) == b"\x00bytes\x00\x01\x01\x01\x80\x7f"
    assert slice_key("count", []) == b"\x00count\x00\x01\x00"
    assert slice_key("a\0b", []) == b"\x00a\x00\xffb\x00\x01\x00"
    assert slice_key("w", [(64, 230)])[6:] == b"\xc0\x40\xc0\xe6"
