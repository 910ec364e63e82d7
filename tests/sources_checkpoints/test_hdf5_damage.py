"""HDF5 files damaged by accident or on purpose: said, bounded, and no other exception."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from forensics.errors import Damaged
from forensics.sources.checkpoints.hdf5 import file as walk
from forensics.sources.checkpoints.hdf5.fields import Fields
from forensics.sources.checkpoints.hdf5.image import Image
from forensics.sources.checkpoints.hdf5.lookup3 import lookup3
from forensics.sources.checkpoints.parts import Inflated
from tests.damage.confined import confined
from tests.damage.mutations import ALL, SAME_SIZE
from tests.sources_checkpoints.test_hdf5_reader import read, written

RECORDED = Path(__file__).parents[1] / "data" / "keras" / "recorded.zip"
Tensor = tuple[tuple[int, ...], str, bytes]


def recorded(name: str) -> bytes:
    with zipfile.ZipFile(RECORDED) as archive:
        return archive.read(name)


def chunked() -> bytes:
    """Newer structures, all with a checksum; of the datasets only the last has none."""

    def fill(file: h5py.File) -> None:
        array = np.random.default_rng(0).normal(size=(30, 20)).astype("f4")
        group = file.create_group("layers/dense/vars")
        group.attrs["name"] = "dense"
        options: dict[str, Any] = {"chunks": (8, 8), "fletcher32": True}
        group.create_dataset("0", data=array, compression="gzip", shuffle=True, **options)
        group.create_dataset("1", data=array, maxshape=(None, 20), **options)
        group.create_dataset("2", data=array, maxshape=(None, None), compression="gzip", **options)
        for number in range(3, 20):
            group.create_dataset(
                str(number), data=[np.float32(number)], chunks=(1,), fletcher32=True
            )
        group.create_dataset("unchecked", data=array)

    return written(fill, libver="latest")


def observed(data: bytes) -> tuple[dict[str, Tensor], list[Damaged]]:
    """Tensors and failures; anything but `Damaged` escapes."""
    try:
        content = read(data)
    except Damaged as error:
        return {}, [error]
    found, failures = {}, [*content.failures, *content.lost]
    for tensor in content.tensors:
        try:
            found[tensor.name] = (tensor.shape, tensor.dtype, b"".join(map(bytes, tensor.pieces())))
        except Damaged as error:
            failures.append(error)
    return found, failures


def damaged(
    data: bytes, seed: str, among: Sequence[Callable[[bytearray, random.Random], None]] = ALL
) -> tuple[bytes, str]:
    """Damage that does not depend on the content, which holds the time of writing."""
    source, copy = random.Random(seed), bytearray(data)
    mutation = source.choice(among)
    mutation(copy, source)
    return bytes(copy), mutation.__name__


SPECIMENS = {
    "weights": lambda: recorded("k3/lora.weights.h5"),
    "legacy": lambda: recorded("k2/k2_named_weights.h5"),
    "newer": chunked,
}


@pytest.mark.parametrize("name", SPECIMENS)
def test_mutants(name: str) -> None:
    data = SPECIMENS[name]()
    truth, failures = observed(data)
    assert truth and not failures
    silent = 0
    for index in range(500):
        changed, what = damaged(data, f"{name}:{index}")
        if changed == data:
            continue
        found, failures = observed(changed)
        if failures:
            assert all(failure.kind and failure.detail for failure in failures)
            assert all(0 <= failure.offset <= len(data) + 4096 for failure in failures)
            continue
        if name == "newer":
            # All but one dataset is under a checksum: nothing else may differ unsaid.
            assert found.keys() == truth.keys(), what
            differ = {key for key in found if found[key] != truth[key]}
            # The checksum of zeros is zero: a hole over a chunk and its checksum verifies.
            differ -= {key for key in differ if not any(found[key][2])}
            assert differ <= {"layers/dense/vars/unchecked"}, what
        else:
            # Values and letters have no checksum; shapes, dtypes and the number of tensors stand.
            assert [t[:2] for t in found.values()] == [t[:2] for t in truth.values()], what
        silent += found != truth
    assert silent < 50


def test_every_prefix_is_cut_off() -> None:
    data = recorded("k3/int8.weights.h5")
    truth, _ = observed(data)
    for size in range(0, len(data), 97):
        found, failures = observed(data[:size])
        assert failures
        assert failures[0].kind in ("truncated", "bad_signature")
        assert all(truth[name] == tensor for name, tensor in found.items())


def place_of(data: bytes, part: bytes, number: int = 0) -> int:
    place = -1
    for _ in range(number + 1):
        place = data.index(part, place + 1)
    return place


def with_bytes(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def two(file: h5py.File) -> None:
    file["a"] = np.arange(600, dtype="f4")
    file["b"] = np.arange(600, dtype="f4")


def kinds(data: bytes) -> list[str]:
    return [failure.kind for failure in observed(data)[1]]


def address_of(data: bytes, name: str) -> int:
    with h5py.File(io.BytesIO(data)) as file:
        return int(file[name].id.get_offset())


def test_a_tree_that_contains_itself() -> None:
    data = written(two)
    tree = place_of(data, b"TREE")
    # Its first child is the tree; a level above the leaves, so that children are trees.
    changed = with_bytes(data, tree + 32, struct.pack("<Q", tree))
    assert kinds(with_bytes(changed, tree + 5, b"\1"))


def test_a_header_that_continues_in_itself() -> None:
    def fill(file: h5py.File) -> None:
        file["a"] = 1
        for number in range(12):
            file["a"].attrs[f"attribute {number}"] = "x" * 40

    data = written(fill)
    for place in range(0, len(data) - 24, 8):
        kind, size = struct.unpack_from("<2H", data, place)
        if (kind, size) == (16, 16) and data[place + 4 : place + 8] == bytes(4):
            break
    block, length = struct.unpack_from("<2Q", data, place + 8)
    assert block + length <= len(data)
    header = place - place % 8
    changed = with_bytes(data, place + 8, struct.pack("<2Q", header, length))
    assert kinds(changed)
    # In the block itself: the first message there continues at the block.
    again = struct.pack("<2HB3x2Q", 16, 16, 0, block, length)
    assert kinds(with_bytes(data, block, again))


def test_two_datasets_on_the_same_bytes() -> None:
    data = written(two)
    a, b = address_of(data, "a"), address_of(data, "b")
    place = place_of(data, struct.pack("<2Q", b, 2400))
    for shift in (0, 8, -8):
        changed = with_bytes(data, place, struct.pack("<Q", a + shift))
        found, failures = observed(changed)
        assert "claimed_twice" in {failure.kind for failure in failures}
        assert found == {}


def test_sizes_that_no_file_has() -> None:
    data = written(two)
    shape = place_of(data, struct.pack("<2Q", 600, 600))
    layout = place_of(data, struct.pack("<2Q", address_of(data, "a"), 2400))
    for elements in (1 << 40, 1 << 62, (1 << 64) - 1):
        changed = with_bytes(data, shape, struct.pack("<2Q", elements, elements))
        assert kinds(changed) == ["bad_shape"]
        size = elements * 4 & (1 << 64) - 1
        both = with_bytes(changed, layout + 8, struct.pack("<Q", size))
        assert kinds(both)[0] in ("bad_shape", "out_of_range", "claimed_twice")


def test_free_blocks_that_never_end() -> None:
    def fill(file: h5py.File) -> None:
        two(file)
        file["a name that is long enough to leave a block"] = 1
        del file["a name that is long enough to leave a block"]

    data = written(fill)
    heap = place_of(data, b"HEAP")
    free, start = struct.unpack_from("<2Q", data, heap + 16)
    assert kinds(with_bytes(data, start + free, struct.pack("<Q", free))) == ["bad_length"]


def test_many_claims_are_no_work() -> None:
    """All structures together claim no more bytes than there are."""
    image = Image(read_source(1000))
    image.claim(0, 600, "a")
    with pytest.raises(Damaged, match="where something else does"):
        image.claim(0, 600, "b")


def read_source(size: int) -> Inflated:
    return Inflated("x", 0, bytes(size))


def test_too_many_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "_MAX_OBJECTS", 50)

    def fill(file: h5py.File) -> None:
        for number in range(100):
            file[str(number)] = np.float32(number)

    content = read(written(fill))
    assert [failure.kind for failure in content.failures] == ["limit"]
    assert len(content.tensors) == 49


def test_groups_in_groups() -> None:
    deep = "/".join("g" * 150)
    content = read(written(lambda file: file.create_group(deep)))
    assert [failure.kind for failure in content.failures] == ["limit"]


def one_chunk(stored: bytes, shape: tuple[int, ...] = (1 << 20,)) -> bytes:
    def fill(file: h5py.File) -> None:
        made = file.create_dataset("x", shape, "u1", chunks=shape, compression="gzip")
        made.id.write_direct_chunk((0,) * len(shape), stored)

    return written(fill)


def test_chunks_that_inflate_to_something_else() -> None:
    size = 1 << 20
    sound = zlib.compress(bytes(size))
    assert kinds(one_chunk(sound)) == []
    assert kinds(one_chunk(zlib.compress(bytes(size + 1)))) == ["bad_chunk"]
    assert kinds(one_chunk(zlib.compress(bytes(size - 1)))) == ["bad_chunk"]
    assert kinds(one_chunk(zlib.compress(bytes(50 * size)))) == ["bad_chunk"]
    assert kinds(one_chunk(sound[:-4])) == ["bad_chunk"]
    # Shorter than any stream of so many bytes.
    assert kinds(one_chunk(b"x" * 20)) == ["limit"]


def test_chunks_that_no_memory_holds() -> None:
    def fill(file: h5py.File) -> None:
        file.create_dataset("x", (1 << 29,), "u1", chunks=(1 << 29,), compression="gzip")
        file["x"].id.write_direct_chunk((0,), zlib.compress(b"x"))

    assert kinds(written(fill)) == ["limit"]


@pytest.mark.parametrize("versions", ["earliest", "latest"])
def test_chunks_that_were_never_written(versions: Any) -> None:
    def fill(file: h5py.File) -> None:
        file.create_dataset("x", (100,), "f4", chunks=(10,))[:50] = 1

    content = read(written(fill, libver=versions))
    assert [failure.kind for failure in content.failures] == ["missing_chunk"]


def test_a_file_that_was_not_closed() -> None:
    data = bytearray(written(two, libver="latest"))
    data[11] |= 1
    data[44:48] = lookup3(bytes(data[:44])).to_bytes(4, "little")
    found, failures = observed(bytes(data))
    assert [failure.kind for failure in failures] == ["not_closed"]
    assert len(found) == 2


def test_bytes_after_the_end() -> None:
    assert kinds(written(two) + b"x") == ["trailing_bytes"]


def test_links_that_a_node_lacks() -> None:
    """Names stay in the heap when a node forgets its links."""

    def fill(file: h5py.File) -> None:
        for number in range(20):
            file[f"number {number}"] = number

    data = written(fill)
    tree = place_of(data, b"TREE")
    (count,) = struct.unpack_from("<H", data, tree + 6)
    assert count > 1
    content = read(with_bytes(data, tree + 6, struct.pack("<H", count - 1)))
    assert (content.failures, [lost.kind for lost in content.lost]) == ([], ["lost_links"])
    node = place_of(data, b"SNOD")
    (count,) = struct.unpack_from("<H", data, node + 6)
    assert "bad_tree" in kinds(with_bytes(data, node + 6, struct.pack("<H", count - 1)))
    assert "bad_length" in kinds(with_bytes(data, node + 6, struct.pack("<H", 0)))


def test_links_lead_where_they_should() -> None:
    data = written(two)
    symbol = place_of(data, b"SNOD") + 8
    (address,) = struct.unpack_from("<Q", data, symbol + 8)
    # Both names lead to the first dataset, which says that one link does.
    changed = with_bytes(data, symbol + 40 + 8, struct.pack("<Q", address))
    assert kinds(changed) == ["bad_link_count"]


def many_indexes() -> bytes:
    """Every structure of the newer format: heaps, trees and arrays of several levels."""

    def fill(file: h5py.File) -> None:
        for number in range(40):
            file[f"group/name {number}"] = np.int8(number)
        for number in range(20):
            file["group"].attrs[f"attribute {number}"] = "text" * number
        file["group"].attrs["huge"] = np.array([b"h" * 66_000])
        numbers = np.arange(900, dtype="i2")
        file.create_dataset("extensible", data=numbers, chunks=(2,), maxshape=(None,))
        file.create_dataset("fixed", data=numbers.repeat(3), chunks=(2,))
        grid = numbers.reshape(30, 30)
        file.create_dataset("tree", data=grid, chunks=(2, 3), maxshape=(None, None))

    return written(fill, libver="latest")


def unverified(name: str) -> list[str]:
    """What escapes when all checksums fit whatever was done, as an attacker's would."""
    Fields.verify = lambda self: self.raw(4)  # type: ignore[assignment, method-assign]
    data = {"newer": chunked, "indexes": many_indexes}[name]()
    escaped = []
    for index in range({"newer": 300, "indexes": 100}[name]):
        changed, done = data, []
        for step in range(1 + index % 4):
            changed, what = damaged(changed, f"{name}:{index}:{step}", SAME_SIZE)
            done.append(what)
        try:
            observed(changed)
        except Exception as error:
            escaped.append(f"{index} {done}: {error!r}")
    return escaped


@pytest.mark.parametrize("name", ["newer", "indexes"])
def test_mutants_whose_checksums_fit(name: str) -> None:
    outcome = confined(unverified, name, seconds=120, memory=300 << 20)
    assert outcome.error == ""
    assert outcome.value == []
