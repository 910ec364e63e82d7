"""zarr arrays of every grid of chunks: elements in C order, codecs, fill values, shards, limits."""

from __future__ import annotations

import gzip
import itertools
import json
import math
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.errors import Damaged
from forensics.sources.checkpoints.orbax.chunks import ChunkedArray
from forensics.sources.checkpoints.orbax.span import InMemory, Span
from forensics.sources.checkpoints.orbax.zarr_array import read_metadata
from forensics.sources.checkpoints.stored_tensor import PIECE
from forensics.sources.checksum import crc32c

Array = np.ndarray[Any, Any]
ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "zstd": zstandard.ZstdCompressor().compress,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zlib": zlib.compress,
    "crc32c": lambda data: data + struct.pack("<I", crc32c(data)),
}


def encoded(data: bytes, codecs: Iterable[str]) -> bytes:
    for codec in codecs:
        data = ENCODE[codec](data)
    return data


def blocks(array: Array, chunks: Sequence[int], fill: object) -> dict[tuple[int, ...], Array]:
    """Chunks by their place; those at an edge are filled up."""
    found = {}
    grid = [range(-(-n // c)) for n, c in zip(array.shape, chunks, strict=True)]
    for place in itertools.product(*grid):
        block = np.full(chunks, fill, array.dtype)
        part = array[tuple(slice(p * c, (p + 1) * c) for p, c in zip(place, chunks, strict=True))]
        block[tuple(slice(n) for n in part.shape)] = part
        found[place] = block
    return found


def elements(
    values: dict[str, bytes], document: dict[str, object], *, all_stored: bool = False
) -> bytes:
    """All elements as the reader hands them on."""
    key = ".zarray" if document["zarr_format"] == 2 else "zarr.json"
    array = read_metadata(json.dumps(document).encode(), key, "a/.zarray")

    def find(name: str) -> Span | None:
        data = values.get(name)
        return None if data is None else Span(InMemory(data, name), 0, len(data), name)

    chunked = ChunkedArray(array, find, "a/.zarray", all_stored=all_stored)
    pieces = list(chunked.pieces())
    assert all(0 < len(piece) <= PIECE for piece in pieces)
    return b"".join(pieces)


def format_2(shape: Sequence[int], chunks: Sequence[int], **more: object) -> dict[str, object]:
    document: dict[str, object] = {
        "zarr_format": 2, "shape": list(shape), "chunks": list(chunks), "dtype": "<f4",
        "compressor": None, "fill_value": None, "filters": None, "order": "C",
    }  # fmt: skip
    return {**document, **more}


def format_3(shape: Sequence[int], chunks: Sequence[int], **more: object) -> dict[str, object]:
    document: dict[str, object] = {
        "zarr_format": 3, "node_type": "array", "shape": list(shape), "data_type": "float32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
        "chunk_key_encoding": {"name": "default"}, "fill_value": 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    }  # fmt: skip
    return {**document, **more}


GRIDS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 7)), max_size=4)


@settings(max_examples=80, deadline=None)
@given(
    grid=GRIDS,
    dtype=st.sampled_from(["<f4", ">f8", "|b1", ">i2", "<c8", ">c16", "bfloat16", "|u1"]),
    compressor=st.sampled_from([None, "zstd", "gzip", "zlib"]),
    separator=st.sampled_from([".", "/"]),
    lost=st.randoms(use_true_random=False),
)
def test_format_2(
    grid: list[tuple[int, int]], dtype: str, compressor: str | None, separator: str, lost: Any
) -> None:
    shape, chunks = [n for n, _ in grid], [c for _, c in grid]
    kind: Any = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    array = np.arange(math.prod(shape)).reshape(shape).astype(kind)
    values = {}
    for place, block in blocks(array, chunks, 1).items():
        if lost.random() < 0.2:  # A chunk that is not there holds the fill value.
            span = tuple(slice(p * c, (p + 1) * c) for p, c in zip(place, chunks, strict=True))
            array[span] = 1
            continue
        codecs = [compressor] if compressor else []
        values[separator.join(map(str, place)) or "0"] = encoded(block.tobytes(), codecs)
    fill: object = [1, 0] if "c" in dtype else 1
    document = format_2(
        shape,
        chunks,
        dtype=dtype,
        fill_value=fill,
        dimension_separator=separator,
        compressor=compressor and {"id": compressor, "level": 1},
    )
    little = array.astype(array.dtype.newbyteorder("<")) if dtype[0] == ">" else array
    assert elements(values, document) == little.tobytes()


@settings(max_examples=60, deadline=None)
@given(
    grid=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3)), max_size=3),
    inner=st.sampled_from([[], ["zstd"], ["gzip", "crc32c"]]),
    location=st.sampled_from(["start", "end"]),
    checked=st.booleans(),
)
def test_shards(
    grid: list[tuple[int, int, int]], inner: list[str], location: str, checked: bool
) -> None:
    shape, chunks = [n for n, _, _ in grid], [c for _, c, _ in grid]
    shards = [c * k for _, c, k in grid]
    array = np.arange(math.prod(shape), dtype="<f4").reshape(shape)
    index_codecs = ["crc32c"] if checked else []
    values = {}
    for place, shard in blocks(array, shards, 0).items():
        size = 16 * math.prod(k for _, _, k in grid) + 4 * len(index_codecs)
        body, index = b"", b""
        for block in blocks(shard, chunks, 0).values():
            if not block.any():
                index += b"\xff" * 16
                continue
            data = encoded(block.tobytes(), inner)
            index += struct.pack("<2Q", len(body) + (size if location == "start" else 0), len(data))
            body += data
        index = encoded(index, index_codecs)
        values["/".join(["c", *map(str, place)])] = (
            index + body if location == "start" else body + index
        )

    def listed(codecs: list[str]) -> list[dict[str, object]]:
        found: list[dict[str, object]] = [{"name": codec} for codec in codecs]
        return [{"name": "bytes", "configuration": {"endian": "little"}}, *found]

    settings_of_shards = {
        "chunk_shape": chunks,
        "codecs": listed(inner),
        "index_codecs": listed(index_codecs),
        "index_location": location,
    }
    codec = {"name": "sharding_indexed", "configuration": settings_of_shards}
    assert elements(values, format_3(shape, shards, codecs=[codec])) == array.tobytes()


def test_large_chunks_come_in_pieces() -> None:
    array = np.arange(3 * 700_000, dtype="<f4").reshape(3, 700_000)
    values = {f"{i}.0": encoded(array[i].tobytes(), ["zstd"]) for i in range(3)}
    document = format_2(array.shape, (1, 700_000), compressor={"id": "zstd"})
    assert elements(values, document) == array.tobytes()
    halves = {
        f"0.{i}": encoded(np.ascontiguousarray(half).tobytes(), ["zstd"])
        for i, half in enumerate(np.split(array, 2, axis=1))
    }
    document = format_2(array.shape, (3, 350_000), compressor={"id": "zstd"})
    assert elements(halves, document) == array.tobytes()


@pytest.mark.parametrize(
    ("value", "bits"),
    [("NaN", math.nan), ("Infinity", math.inf), ("-Infinity", -math.inf), ("0x3f800000", 1.0),
     (2.5, 2.5), (None, 0.0)],
)  # fmt: skip
def test_fill_values(value: object, bits: float) -> None:
    found = np.frombuffer(elements({}, format_2((2,), (2,), fill_value=value)), "<f4")
    assert np.array_equal(found, np.array([bits, bits], "f4"), equal_nan=True)


CHUNK = np.arange(4, dtype="<f4").tobytes()
GZIP = encoded(CHUNK, ["gzip"])


@pytest.mark.parametrize(
    ("values", "more", "kind"),
    [
        ({"0": CHUNK[:-1]}, {}, "truncated"),
        ({"0": CHUNK + b"\0"}, {}, "bad_length"),
        ({"0": b""}, {}, "truncated"),
        ({"0": encoded(CHUNK, ["zstd"])[:-3]}, {"compressor": {"id": "zstd"}}, "truncated"),
        ({"0": CHUNK}, {"compressor": {"id": "zstd"}}, "bad_chunk"),
        ({"0": encoded(CHUNK * 99, ["zstd"])}, {"compressor": {"id": "zstd"}}, "bad_length"),
        ({"0": encoded(CHUNK, ["gzip"])[:-3]}, {"compressor": {"id": "gzip"}}, "bad_chunk"),
        ({"0": GZIP[:-8] + bytes(8)}, {"compressor": {"id": "gzip"}}, "bad_chunk"),
        ({"0": encoded(CHUNK, ["zlib"])[:-1]}, {"compressor": {"id": "zlib"}}, "bad_chunk"),
        ({"0": encoded(CHUNK, ["zlib"]) + b"x"}, {"compressor": {"id": "zlib"}}, "bad_chunk"),
    ],
)  # fmt: skip
def test_broken_chunks(values: dict[str, bytes], more: dict[str, object], kind: str) -> None:
    with pytest.raises(Damaged) as caught:
        elements(values, format_2((4,), (4,), **more))
    assert caught.value.kind == kind
    assert caught.value.path == "0"


def test_a_wrong_checksum_and_a_lost_chunk() -> None:
    codecs = [{"name": "bytes"}, {"name": "crc32c"}]
    data = bytearray(encoded(CHUNK, ["crc32c"]))
    document = format_3((4,), (4,), codecs=codecs)
    assert elements({"c/0": bytes(data)}, document) == CHUNK
    data[2] ^= 1
    with pytest.raises(Damaged, match="crc_mismatch"):
        elements({"c/0": bytes(data)}, document)
    with pytest.raises(Damaged, match="missing_chunk"):
        elements({}, document, all_stored=True)


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (format_2((4,), (0,)), "bad_shape"),
        (format_2((4,), (2, 2)), "bad_shape"),
        (format_2((-4,), (2,)), "bad_shape"),
        (format_2((1 << 40,), (1,)), "limit"),
        (format_2((1 << 62,), (1 << 62,)), "bad_shape"),
        (format_2((1,) * 65, (1,) * 65), "bad_shape"),
        (format_2((4,), (4,), order="F"), "unsupported"),
        (format_2((4,), (4,), filters=[{"id": "delta"}]), "unsupported"),
        (format_2((4,), (4,), compressor={"id": "blosc"}), "unsupported"),
        (format_2((4,), (4,), dtype="|O"), "unsupported"),
        (format_2((4,), (4,), dtype=["<f4"]), "unsupported"),
        (format_2((4,), (4,), zarr_format=2, fill_value="0xff"), ""),
        (format_2((4,), (4,), fill_value="0x" + "f" * 99), "bad_fill_value"),
        (format_2((4,), (4,), fill_value="many"), "bad_fill_value"),
        (format_2((4,), (4,), dtype="<i4", fill_value="NaN"), "bad_fill_value"),
        (format_3((4,), (4,), data_type="string"), "unsupported"),
        (format_3((4,), (4,), codecs=[{"name": "transpose"}]), "unsupported"),
        (format_3((4,), (4,), codecs=[{"name": "bytes"}, {"name": "blosc"}]), "unsupported"),
        (format_3((4,), (4,), chunk_grid={"name": "rectangular"}), "unsupported"),
        (format_3((4,), (4,), chunk_key_encoding={"name": "other"}), "unsupported"),
        (format_3((4,), (4,), node_type="group"), "unsupported"),
    ],
)
def test_metadata(document: dict[str, object], kind: str) -> None:
    key = ".zarray" if document["zarr_format"] == 2 else "zarr.json"
    if not kind:
        read_metadata(json.dumps(document).encode(), key, "a")
        return
    with pytest.raises(Damaged) as caught:
        read_metadata(json.dumps(document).encode(), key, "a")
    assert caught.value.kind == kind


def test_rows_too_long_to_be_put_in_order() -> None:
    row = 20 << 20
    with pytest.raises(Damaged, match="limit"):
        elements({}, format_2((2, row), (2, row // 2)))


def test_very_many_chunks_beside_each_other() -> None:
    """Few rows are read chunk by chunk; many would need as many decoders as there are chunks."""
    array = np.arange(4 * 2000, dtype="<f4").reshape(4, 2000)
    values = {f"0.{i}": array[:, i : i + 1].tobytes() for i in range(2000)}
    assert elements(values, format_2(array.shape, (4, 1))) == array.tobytes()
    with pytest.raises(Damaged, match="limit"):
        elements({}, format_2((1 << 12, 2000), (1 << 12, 1)))
