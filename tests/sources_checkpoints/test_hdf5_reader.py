"""The HDF5 reader beside libhdf5, on files that h5py writes in every way that it can."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forensics.errors import Damaged
from forensics.sources.checkpoints.hdf5.elements import rereads, slabs
from forensics.sources.checkpoints.hdf5.file import H5Content, read_h5
from forensics.sources.checkpoints.hdf5.filters import fletcher32
from forensics.sources.checkpoints.hdf5.lookup3 import lookup3
from forensics.sources.checkpoints.parts import Inflated, Part
from forensics.sources.storage.local_file import LocalFile

VERSIONS: tuple[Any, ...] = ("earliest", ("v108", "v110"), ("v110", "v114"), "latest")
KINDS = [
    "f2", "f4", "f8", ">f2", ">f4", ">f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i2",
    ">u8", "c8", "c16", ">c8", "?",
]  # fmt: skip
A = np.random.default_rng(0).normal(size=(37, 53)).astype("f4")


def written(fill: Callable[[h5py.File], None], **options: Any) -> bytes:
    image = io.BytesIO()
    with h5py.File(image, "w", **options) as file:
        fill(file)
    return image.getvalue()


def read(data: bytes) -> H5Content:
    return read_h5(Inflated("file.h5", 0, data))


def ours(content: H5Content) -> dict[str, tuple[tuple[int, ...], str, bytes]]:
    return {
        t.name: (t.shape, t.dtype, b"".join(map(bytes, t.pieces())) if t.numeric else b"")
        for t in content.tensors
    }


def theirs(data: bytes) -> dict[str, tuple[tuple[int, ...], str, bytes]]:
    found = {}

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        shape = (0,) if item.shape is None else item.shape
        kind = "string" if item.dtype.kind in "OS" else item.dtype.newbyteorder("=").name
        if item.dtype.kind == "V":
            kind = "opaque"
        numeric = kind not in ("string", "opaque") and item.shape is not None
        values = item[()].astype(item.dtype.newbyteorder("<")).tobytes() if numeric else b""
        found[name] = (shape, kind, values)

    with h5py.File(io.BytesIO(data)) as file:
        file.visititems(visit)
    return found


def equal(data: bytes) -> H5Content:
    content = read(data)
    assert content.failures == []
    assert ours(content) == theirs(data)
    return content


def dtypes(file: h5py.File) -> None:
    for number, kind in enumerate(KINDS):
        file[f"d{number}"] = (A[:3, :5] * 50).astype(kind)
    file["fixed"] = np.array([b"abc", b"d"])
    file["variable"] = ["x", "yy"]
    file["null"] = h5py.Empty("f4")
    file["none"] = np.zeros((0, 4), "f4")
    file["scalar"] = np.float64(3)
    file.create_dataset("enum", data=[1, 2], dtype=h5py.enum_dtype({"a": 1, "b": 2}, "i4"))
    file["records"] = np.zeros(3, [("a", "f4"), ("b", "i8")])
    file["named"] = np.dtype("f4")
    file.create_dataset("of_named", data=np.arange(4), dtype=file["named"])
    file["twice"] = file["scalar"]


def chunks(file: h5py.File) -> None:
    gzip: dict[str, Any] = {"compression": "gzip"}
    made: dict[str, dict[str, Any]] = {
        "plain": {"chunks": (8, 10)},
        "gzip": {"chunks": (8, 10), **gzip},
        "all": {"chunks": (8, 10), "shuffle": True, "fletcher32": True, **gzip},
        "checked": {"chunks": (8, 10), "fletcher32": True},
        "single": {"chunks": (37, 53)},
        "single_gzip": {"chunks": (37, 53), **gzip},
        "small": {"chunks": (5, 2)},
        "growing": {"chunks": (3, 10), "maxshape": (None, 53), **gzip},
        "growing_aside": {"chunks": (3, 10), "maxshape": (60, None)},
        "growing_twice": {"chunks": (3, 10), "maxshape": (None, None)},
        "growing_twice_gzip": {"chunks": (3, 10), "maxshape": (None, None), **gzip},
        "room": {"chunks": (3, 10), "maxshape": (100, 100)},
    }
    for name, options in made.items():
        file.create_dataset(name, data=A, **options)
    cube = np.random.default_rng(1).normal(size=(9, 11, 13))
    file.create_dataset("cube", data=cube, chunks=(2, 5, 4), shuffle=True, **gzip)
    file.create_dataset("cube_growing", data=cube, chunks=(2, 5, 4), maxshape=(9, None, 20))
    for name, early, compact in (("implicit", True, False), ("compact", False, True)):
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if early:
            plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            plan.set_chunk((2, 3))
        if compact:
            plan.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3, 5))
        low = h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F32LE, space, plan)
        low.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(A[:3, :5]))


def long_indexes(file: h5py.File) -> None:
    """Long enough for pages and super blocks."""
    file.create_dataset("fixed", data=np.arange(9000, dtype="i4"), chunks=(4,))
    file.create_dataset("growing", data=np.arange(9000, dtype="i4"), chunks=(4,), maxshape=(None,))


def many(file: h5py.File) -> None:
    for number in range(300):
        file[f"group/a rather long name with number {number}"] = np.float32(number)
    for number in range(30):
        file["group"].attrs[f"attribute {number}"] = f"text {number}"


def removed(file: h5py.File) -> None:
    many(file)
    chunks(file)
    for number in range(0, 300, 3):
        del file["group"][f"a rather long name with number {number}"]
    del file["gzip"]
    file["new"] = np.arange(10_000.0)
    file.move("checked", "moved")
    file["hard"] = file["new"]
    file["growing_twice"].resize((60, 70))
    file["growing_twice"][...] = 3
    file["growing"].resize((10, 53))


@pytest.mark.parametrize("versions", VERSIONS, ids=str)
@pytest.mark.parametrize("fill", [dtypes, chunks, long_indexes, many, removed])
def test_equal_to_libhdf5(fill: Callable[[h5py.File], None], versions: Any) -> None:
    equal(written(fill, libver=versions))


@pytest.mark.parametrize(
    "options",
    [{"userblock_size": 1024}, {"userblock_size": 512, "libver": "latest"},
     {"fs_strategy": "page", "fs_page_size": 4096}, {"track_order": True},
     {"alignment_threshold": 1, "alignment_interval": 512}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("fill", [dtypes, chunks])
def test_other_ways_to_lay_out_a_file(
    fill: Callable[[h5py.File], None], options: dict[str, Any], tmp_path: Path
) -> None:
    # On a disk: in memory h5py does not fill the last page of a paged file.
    with h5py.File(tmp_path / "x.h5", "w", **options) as file:
        fill(file)
    equal((tmp_path / "x.h5").read_bytes())


@given(seed=st.integers(0, 2**32))
def test_names_over_names_that_were_removed(seed: int) -> None:
    """libhdf5 writes names over others, and does not clear what is left of these."""
    source, image = random.Random(seed), io.BytesIO()
    names: list[str] = []
    for _ in range(3):
        with h5py.File(image, "a") as file:
            for _ in range(source.randint(1, 25)):
                if names and source.random() < 0.45:
                    del file[names.pop(source.randrange(len(names)))]
                    continue
                length = source.choice([1, 2, 7, 8, 9, 15, 16, 30, 70])
                name = "".join(source.choices("abcdefgh", k=length))
                if name not in names:
                    file[name] = 1
                    names.append(name)
    content = read(image.getvalue())
    assert content.failures == []
    assert [tensor.name for tensor in content.tensors] == sorted(names)


@pytest.mark.parametrize("versions", VERSIONS, ids=str)
def test_texts(versions: Any) -> None:
    def fill(file: h5py.File) -> None:
        group = file.create_group("g")
        group.attrs["name"] = "größer"
        group.attrs["fixed"] = np.array([b"a", b"bcd"])
        group.attrs["list"] = ["x", "", "z" * 300]
        group.attrs["number"] = 3
        group.attrs["empty"] = h5py.Empty("S3")
        group.attrs["long"] = "y" * 60_000
        for number in range(20):
            group.attrs[f"more {number}"] = str(number)
        if versions != "earliest":
            group.attrs["huge"] = np.array([b"h" * 70_000])

    found = equal(written(fill, libver=versions)).attributes["g"]
    wanted = {
        "name": ("größer",), "fixed": ("a", "bcd"), "list": ("x", "", "z" * 300),
        "long": ("y" * 60_000,), **{f"more {n}": (str(n),) for n in range(20)},
    }  # fmt: skip
    if versions != "earliest":
        wanted["huge"] = ("h" * 70_000,)
    assert found == wanted


@given(
    array=hnp.arrays(
        st.sampled_from(["f4", "f8", "i2", "u1", ">f4"]),
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=9),
    ),
    data=st.data(),
    versions=st.sampled_from(VERSIONS),
)
def test_any_chunks(array: np.ndarray[Any, Any], data: st.DataObject, versions: Any) -> None:
    chunk = tuple(data.draw(st.integers(1, size)) for size in array.shape)
    limits = tuple(data.draw(st.sampled_from([size, size + 3, None])) for size in array.shape)
    options = data.draw(
        st.fixed_dictionaries(
            {},
            optional={"compression": st.just("gzip"), "shuffle": st.just(True),
                      "fletcher32": st.just(True)},
        )
    )  # fmt: skip

    def fill(file: h5py.File) -> None:
        file.create_dataset("x", data=array, chunks=chunk, maxshape=limits, **options)

    equal(written(fill, libver=versions))


@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    data=st.data(),
    most=st.integers(1, 200),
)
def test_slabs_cover_in_order(shape: list[int], data: st.DataObject, most: int) -> None:
    chunk = tuple(data.draw(st.integers(1, size)) for size in shape)
    numbers = np.arange(np.prod(shape)).reshape(shape)
    found = []
    for box in slabs(tuple(shape), chunk, 1, most):
        part = numbers[tuple(slice(low, high) for low, high in box)]
        assert part.size <= most
        found.extend(part.reshape(-1).tolist())
    assert found == numbers.reshape(-1).tolist()
    assert rereads(tuple(shape), chunk, 1, most) >= 1


def test_large_rows_are_put_together_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forensics.sources.checkpoints.hdf5.elements.SLAB", 300)
    equal(written(chunks))


def test_lookup3() -> None:
    # The values that lookup3.c prints for hashlittle() with initval 0.
    assert lookup3(b"") == 0xDEADBEEF
    assert lookup3(b"Four score and seven years ago") == 0x17770551


def test_fletcher32() -> None:
    # Test vectors of the checksum with words in big-endian order.
    assert fletcher32(b"\0\0\0\0") == 0
    assert fletcher32(b"\0\1\0\2") == (1 + 1 + 2) << 16 | 3
    assert fletcher32(b"\xff\xff") == 0xFFFFFFFF


def test_what_is_not_supported_is_said() -> None:
    data = bytearray(written(lambda f: f.create_dataset("x", data=A, chunks=(9, 9), shuffle=True)))
    # A filter of some plug-in instead of shuffle: its number, in a message of version 1.
    data[data.index(b"shuffle\0") - 8] = 0x99
    content = read(bytes(data))
    assert [failure.kind for failure in content.failures] == ["unsupported"]
    assert content.tensors == []


def test_errors_name_a_byte_of_the_file(tmp_path: Path) -> None:
    data = bytearray(written(dtypes))
    place = data.index(b"SNOD")
    data[place] = 0
    path = tmp_path / "file.h5"
    path.write_bytes(b"before" + data)
    with LocalFile(path, "file.h5") as blob:
        (failure,) = read_h5(Part(blob, 6, len(data))).failures
    assert (failure.path, failure.kind) == ("file.h5", "bad_signature")
    assert failure.offset == 6 + place


def _strings(texts: list[str], version: Any, **options: Any) -> bytes:
    kind = h5py.string_dtype()

    def fill(file: h5py.File) -> None:
        file.create_dataset("vocabulary", data=texts, dtype=kind, **options)

    return written(fill, libver=version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("options", [{}, {"chunks": (2,), "compression": "gzip"}])
def test_texts_of_variable_length(version: Any, options: dict[str, Any]) -> None:
    """Their references are equal where the texts have the same lengths, and say nothing of them."""
    texts = ["cat", "", "é" * 3000, "x" * 100_000, "dog"]
    content = read(_strings(texts, version, **options))
    (tensor,) = content.tensors
    expected = b"".join(len(t.encode()).to_bytes(8, "little") + t.encode() for t in texts)
    assert b"".join(map(bytes, tensor.pieces())) == expected
    assert content.failures == []


def test_sequences_of_variable_length() -> None:
    def fill(file: h5py.File) -> None:
        data = file.create_dataset("x", (3,), dtype=h5py.vlen_dtype("<f8"))
        data[0], data[2] = [1.0, 2.0], []

    (tensor,) = read(written(fill)).tensors
    lengths = [(16).to_bytes(8, "little"), np.array([1.0, 2.0]).tobytes(), bytes(16)]
    assert b"".join(map(bytes, tensor.pieces())) == b"".join(lengths)


def test_a_text_that_is_not_there() -> None:
    data = bytearray(_strings(["cat", "dog"], "earliest"))
    heap = data.index(b"GCOL")
    data[heap + 16] = 9  # The index of the first object.
    (tensor,) = read(bytes(data)).tensors
    with pytest.raises(Damaged) as caught:
        list(tensor.pieces())
    assert caught.value.kind == "bad_reference"
