"""safetensors files: equal to the reference reader's, and every contradiction in a header found."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from forensics.domain.run import CheckpointStatus, InputState, TensorKind
from forensics.sources.checkpoints.dtypes import numpy_dtype
from forensics.sources.checkpoints.safetensors import read_header
from forensics.sources.checkpoints.scan import CheckpointScan, read_checkpoints
from forensics.sources.storage.place import Directory

DTYPES = (
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16",
    "float32", "float64", "bfloat16", "complex64", "float8_e4m3fn", "float8_e5m2",
)  # fmt: skip


def scan(root: Path) -> CheckpointScan:
    return read_checkpoints(Directory(root))


def write(path: Path, header: Any, buffer: bytes = b"", size: int | None = None) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if size is None else size) + text + buffer)


def entry(dtype: str = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def contents(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """All tensors as this reader sees them."""
    with Directory(path.parent).open(path.name) as blob:
        return {
            t.name: np.frombuffer(b"".join(t.pieces()), numpy_dtype(t.dtype)).reshape(t.shape)
            for t in read_header(blob).tensors
        }


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    arrays=st.dictionaries(
        st.text(min_size=1, max_size=12).filter(lambda t: t != "__metadata__"),
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 5), max_size=4), st.integers()),
        max_size=6,
    )
)
def test_equals_the_reference(
    tmp_path: Path, arrays: dict[str, tuple[str, list[int], int]]
) -> None:
    made = {}
    for name, (dtype, shape, seed) in arrays.items():
        count = int(np.prod(shape)) * numpy_dtype(dtype).itemsize
        data = np.random.default_rng(abs(seed)).integers(0, 2, count, np.uint8)
        made[name] = np.frombuffer(data.tobytes(), numpy_dtype(dtype)).reshape(shape)
    path = tmp_path / "model.safetensors"
    save_file(made, path)
    found = contents(path)
    truth = dict(safetensors.deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
    assert found.keys() == truth.keys()
    for name, told in truth.items():
        assert found[name].dtype == made[name].dtype
        assert list(found[name].shape) == told["shape"]
        assert found[name].tobytes() == bytes(told["data"])


def test_statistics_kinds_and_step(tmp_path: Path) -> None:
    arrays = {
        "fc.weight": np.array([[1.0, np.nan]], np.float32),
        "fc.exp_avg_sq": np.array([0.5], ml_dtypes.bfloat16),
        "bn.num_batches_tracked": np.array(3, np.int64),
    }
    save_file(
        arrays, tmp_path / "model.safetensors", {"global_step": "1200", "ss_optimizer": "Lion"}
    )
    (found,) = scan(tmp_path).checkpoints
    assert found.status is CheckpointStatus.POISONED
    assert not found.verifiable
    assert found.step == 1200
    assert found.config == {"optimizer": "Lion"}
    kinds = {t.name: t.kind for t in found.tensors}
    assert kinds == {
        "fc.weight": TensorKind.WEIGHT,
        "fc.exp_avg_sq": TensorKind.SLOT,
        "bn.num_batches_tracked": TensorKind.OTHER,
    }


def sharded(root: Path) -> Path:
    """Two parts and their index, as Hugging Face's trainer saves them at step 500."""
    folder = root / "checkpoint-500"
    folder.mkdir()
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    for name, file in parts.items():
        save_file({name: np.arange(3, dtype=np.float32)}, folder / file)
    index = {"metadata": {"total_size": 24}, "weight_map": parts}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_parts_are_one_checkpoint_and_pickles_stay_closed(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    (folder / "optimizer.pt").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    result = scan(tmp_path)
    (found,) = result.checkpoints
    assert (found.path, found.step) == ("checkpoint-500/model.safetensors", 500)
    assert [t.name for t in found.tensors] == ["a", "b"]
    assert found.status is CheckpointStatus.CLEAN
    assert [(w.path, w.kind) for w in result.warnings] == [
        ("checkpoint-500/optimizer.pt", "not_read")
    ]
    assert "optimizer.pt" not in " ".join(i.path for i in result.inputs)


def test_parts_without_an_index(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    (folder / "model.safetensors.index.json").unlink()
    (found,) = scan(tmp_path).checkpoints
    assert (found.status, len(found.tensors)) == (CheckpointStatus.CLEAN, 2)
    (folder / "model-00001-of-00002.safetensors").unlink()
    result = scan(tmp_path)
    (found,) = result.checkpoints
    assert (found.status, len(found.tensors)) == (CheckpointStatus.DAMAGED, 1)
    assert [w.kind for w in result.warnings] == ["missing_shard"]


def test_a_part_that_is_missing_or_disagrees(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    part = folder / "model-00002-of-00002.safetensors"
    save_file({"c": np.zeros(2, np.float32)}, part)
    assert {w.kind for w in scan(tmp_path).warnings} == {"key_mismatch"}
    part.unlink()
    result = scan(tmp_path)
    (found,) = result.checkpoints
    assert found.status is CheckpointStatus.DAMAGED
    assert [t.name for t in found.tensors] == ["a"]
    assert [w.kind for w in result.warnings] == ["missing_shard"]


def test_an_index_does_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    save_file({"x": np.zeros(1)}, tmp_path / "secret.bin")
    index = {"weight_map": {"x": "../secret.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    result = scan(tmp_path)
    assert "bad_index" in {w.kind for w in result.warnings}
    assert not any("secret" in i.path for i in result.inputs)


F = b"\0" * 4
HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "truncated"),
    "short": (lambda p: p.write_bytes(b"\1\0\0"), "truncated"),
    "header_of_2_63": (lambda p: write(p, {}, size=1 << 63), "bad_length"),
    "header_beyond_the_file": (lambda p: write(p, {}, size=3), "bad_length"),
    "no_object": (lambda p: write(p, b"[]"), "bad_json"),
    "no_json": (lambda p: write(p, b'{"a"'), "bad_json"),
    "nested": (lambda p: write(p, b'{"a":' + b"[" * 200_000), "bad_json"),
    "nan": (lambda p: write(p, b'{"a": NaN}'), "bad_json"),
    "huge_number": (lambda p: write(p, b'{"a": ' + b"9" * 9_999 + b"}"), "bad_json"),
    "surrogate": (lambda p: write(p, b'{"\\ud800": {}}'), "bad_json"),
    "duplicate": (
        lambda p: write(p, b'{"a": %s, "a": %s}' % ((json.dumps(entry()).encode(),) * 2), F),
        "bad_json",
    ),
    "metadata": (lambda p: write(p, {"__metadata__": {"a": 1}}), "bad_metadata"),
    "dtype": (lambda p: write(p, {"a": entry("F31")}, F), "bad_dtype"),
    "dtype_of_a_list": (lambda p: write(p, {"a": {**entry(), "dtype": []}}, F), "bad_dtype"),
    "negative_dimension": (lambda p: write(p, {"a": entry(shape=(-1,))}, F), "bad_shape"),
    "dimension_of_a_float": (lambda p: write(p, {"a": entry(shape=(1.0,))}, F), "bad_shape"),
    "dimension_of_a_bool": (lambda p: write(p, {"a": entry(shape=(True,))}, F), "bad_shape"),
    "rank_300": (lambda p: write(p, {"a": entry(shape=(1,) * 300)}, F), "bad_shape"),
    "overflow": (lambda p: write(p, {"a": entry(shape=((1 << 62),) * 200)}, F), "bad_shape"),
    "size": (lambda p: write(p, {"a": entry(shape=(2,))}, F), "bad_shape"),
    "half_a_byte": (lambda p: write(p, {"a": entry("F4", (3,), (0, 1))}, F), "bad_shape"),
    "backwards": (lambda p: write(p, {"a": entry(offsets=(4, 0))}, F), "bad_offset"),
    "three_offsets": (lambda p: write(p, {"a": entry(offsets=(0, 4, 8))}, F), "bad_offset"),
    "hole": (lambda p: write(p, {"a": entry(offsets=(4, 8))}, F * 2), "bad_offset"),
    "overlap": (lambda p: write(p, {"a": entry(), "b": entry(offsets=(2, 6))}, F * 2), "overlap"),
    "beyond": (lambda p: write(p, {"a": entry()}, F[:2]), "truncated"),
    "trailing": (lambda p: write(p, {"a": entry()}, F * 2), "trailing_bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers(tmp_path: Path, name: str) -> None:
    make, kind = HOSTILE[name]
    make(tmp_path / "model.safetensors")
    result = scan(tmp_path)
    (found,) = result.checkpoints
    assert found.status is CheckpointStatus.DAMAGED
    assert len(found.tensors) == (kind == "trailing_bytes")
    (warning,) = result.warnings
    assert warning.kind == kind
    size = (tmp_path / "model.safetensors").stat().st_size
    assert warning.offset is not None
    assert 0 <= warning.offset <= size
    assert result.inputs[0].state is InputState.DAMAGED


def test_a_file_that_is_cut_off_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({name: np.arange(9, dtype=np.float32) for name in "abc"}, path)
    whole = path.read_bytes()
    sizes = {}
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        result = scan(tmp_path)
        (found,) = result.checkpoints
        assert found.status is CheckpointStatus.DAMAGED
        assert {w.kind for w in result.warnings} <= {"truncated", "bad_length", "bad_json"}
        assert all(t.max == 8 for t in found.tensors)
        sizes[cut] = len(found.tensors)
    assert sizes[len(whole) - 1] == 2
    assert sizes[len(whole) - 37] == 1


def test_packed_elements_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "model.safetensors", {"q": entry("F4", (4,), (0, 2))}, b"\x12\x34")
    (found,) = scan(tmp_path).checkpoints
    (tensor,) = found.tensors
    assert (tensor.count, tensor.kind, tensor.dtype) == (4, TensorKind.OTHER, "opaque")
    assert found.status is CheckpointStatus.CLEAN
