"""The way from one checkpoint to another, with planted changes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forensics.domain.checkpoint import ChangeKind, CheckpointDifference, TensorChange
from forensics.domain.run import CheckpointStatus
from forensics.errors import NothingToAnalyze
from forensics.sources.checkpoints import file_pieces, tensor_pairs
from forensics.sources.checkpoints.checkpoint_format import Claim, Format
from forensics.sources.checkpoints.difference import compare
from forensics.sources.checkpoints.dtypes import numpy_dtype
from forensics.sources.checkpoints.registry import find_checkpoints
from forensics.sources.checkpoints.scan import read_checkpoints
from forensics.sources.checkpoints.stored_tensor import StoredTensor
from forensics.sources.storage.place import Directory
from tests.sources_checkpoints.bundles import SHARD, write_bundle

Array = npt.NDArray[Any]


def one(folder: Path) -> tuple[Format, Claim]:
    place = Directory(folder)
    (found,) = find_checkpoints(place.survey().files, place)
    return found


def difference(tmp_path: Path, a: dict[str, Array], b: dict[str, Array]) -> CheckpointDifference:
    for side, tensors in (("a", a), ("b", b)):
        write_bundle(tmp_path / side / "ckpt-1", tensors)
    return between(tmp_path)


def between(root: Path) -> CheckpointDifference:
    a, b = root / "a", root / "b"
    return compare(Directory(a), one(a), Directory(b), one(b))


def named(found: CheckpointDifference, name: str) -> TensorChange:
    return next(change for change in found.tensors if change.name == name)


def test_what_became_of_each_tensor(tmp_path: Path) -> None:
    w = np.array([[3.0, 0.0], [0.0, 4.0]], np.float32)
    found = difference(
        tmp_path,
        {"w": w, "same": w, "gone": w, "grown": w, "wider": w},
        {
            "w": w + np.array([[0.3, 0], [0, -0.4]], np.float32),
            "same": w,
            "new": w,
            "grown": np.zeros((3, 2), np.float32),
            "wider": w.astype(np.float64) + 1,
        },
    )
    assert {c.name: c.change for c in found.tensors} == {
        "w": ChangeKind.CHANGED,
        "same": ChangeKind.UNCHANGED,
        "gone": ChangeKind.ONLY_IN_A,
        "new": ChangeKind.ONLY_IN_B,
        "grown": ChangeKind.SHAPE_CHANGED,
        "wider": ChangeKind.DTYPE_CHANGED,
    }
    changed = named(found, "w")
    assert changed.norm_a == 5.0
    assert changed.difference_norm == pytest.approx(0.5, rel=1e-6)
    assert changed.update_ratio == pytest.approx(0.1, rel=1e-6)
    assert changed.max_change == pytest.approx(0.4, rel=1e-6)
    assert changed.became_bad == 0
    same = named(found, "same")
    assert (same.difference_norm, same.update_ratio, same.max_change) == (0.0, 0.0, 0.0)
    assert named(found, "wider").difference_norm == 2.0
    grown = named(found, "grown")
    assert (grown.shape_a, grown.shape_b, grown.difference_norm) == ((2, 2), (3, 2), None)
    assert (named(found, "gone").shape_b, named(found, "new").dtype_a) == (None, None)


def test_both_are_the_checkpoints_that_a_scan_finds(tmp_path: Path) -> None:
    a = {"w": np.arange(5.0), "b": np.array([1, np.nan], np.float32)}
    found = difference(tmp_path, a, {"w": np.arange(5.0) * 2, "c": np.zeros(3, np.int32)})
    for side, stats in (("a", found.a), ("b", found.b)):
        scan = read_checkpoints(Directory(tmp_path / side))
        assert repr((stats,)) == repr(scan.checkpoints)
    assert [i.path for i in found.inputs] == 2 * ["ckpt-1.index", f"ckpt-1{SHARD}"]


def test_only_what_is_finite_in_both_is_measured(tmp_path: Path) -> None:
    a = np.array([3.0, 7.0, np.nan, 1.0, np.inf])
    b = np.array([3.5, np.nan, 2.0, np.inf, np.inf])
    change = named(difference(tmp_path, {"w": a}, {"w": b}), "w")
    assert change.norm_a == pytest.approx(3.0)
    assert change.difference_norm == pytest.approx(0.5)
    assert change.max_change == 0.5
    assert change.became_bad == 2


def test_nans_that_stay_are_unchanged(tmp_path: Path) -> None:
    w = np.array([1.0, np.nan], np.float32)
    change = named(difference(tmp_path, {"w": w}, {"w": w}), "w")
    assert (change.change, change.became_bad) == (ChangeKind.UNCHANGED, 0)
    assert (change.difference_norm, change.update_ratio) == (0.0, 0.0)


def test_where_nothing_is_finite_in_both_there_is_no_norm(tmp_path: Path) -> None:
    change = named(difference(tmp_path, {"w": np.ones(3)}, {"w": np.full(3, np.nan)}), "w")
    assert (change.norm_a, change.difference_norm, change.update_ratio) == (None, None, None)
    assert (change.max_change, change.became_bad) == (None, 3)


def test_from_zero_there_is_no_ratio(tmp_path: Path) -> None:
    change = named(difference(tmp_path, {"w": np.zeros(4)}, {"w": np.ones(4)}), "w")
    assert (change.norm_a, change.difference_norm, change.update_ratio) == (0.0, 2.0, None)


def test_a_change_beyond_float64_is_infinite(tmp_path: Path) -> None:
    change = named(
        difference(tmp_path, {"w": np.array([-1.7e308])}, {"w": np.array([1.7e308])}), "w"
    )
    assert (change.difference_norm, change.max_change) == (math.inf, math.inf)


def test_minus_zero_is_another_value_of_no_difference(tmp_path: Path) -> None:
    change = named(difference(tmp_path, {"w": np.array([0.0])}, {"w": np.array([-0.0])}), "w")
    assert (change.change, change.difference_norm) == (ChangeKind.CHANGED, 0.0)


def test_a_broken_tensor_is_unreadable_and_the_other_side_is_kept(tmp_path: Path) -> None:
    tensors = {"a": np.ones(4), "b": np.full(4, 2.0)}
    for side in "ab":
        write_bundle(tmp_path / side / "ckpt-1", tensors)
    shard = tmp_path / "b" / f"ckpt-1{SHARD}"
    content = bytearray(shard.read_bytes())
    content[40] ^= 1
    shard.write_bytes(content)
    found = between(tmp_path)
    assert {c.name: c.change for c in found.tensors} == {
        "a": ChangeKind.UNCHANGED,
        "b": ChangeKind.UNREADABLE,
    }
    assert [t.name for t in found.a.tensors] == ["a", "b"]
    assert [t.name for t in found.b.tensors] == ["a"]
    assert (found.a.status, found.b.status) == (CheckpointStatus.CLEAN, CheckpointStatus.DAMAGED)
    assert [w.kind for w in found.warnings] == ["crc_mismatch"]


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    for side in "ab":
        write_bundle(tmp_path / side / "ckpt-1", {"w": np.ones(2)})
    a, b = one(tmp_path / "a"), one(tmp_path / "b")
    (tmp_path / "b" / "ckpt-1.index").unlink()
    with pytest.raises(NothingToAnalyze, match=r"ckpt-1.*cannot be read"):
        compare(Directory(tmp_path / "a"), a, Directory(tmp_path / "b"), b)


DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int8, np.uint64, np.complex64]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_has_a_way(tmp_path: Path, dtype: Any) -> None:
    a, b = np.array([1, 2, 3]).astype(dtype), np.array([1, 2, 5]).astype(dtype)
    change = named(difference(tmp_path, {"w": a}, {"w": b}), "w")
    assert (change.change, change.difference_norm, change.max_change) == (
        ChangeKind.CHANGED, 2.0, 2.0,
    )  # fmt: skip
    assert change.norm_a == pytest.approx(math.sqrt(14))


def test_pieces_of_any_size_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(size=100_000).astype(np.float32)
    b = a.astype(np.float64) + rng.normal(size=100_000) * 1e-3
    whole = named(difference(tmp_path, {"w": a}, {"w": b}), "w")
    monkeypatch.setattr(file_pieces, "READ", 1 << 12)
    monkeypatch.setattr(file_pieces, "_SMALL", 1)
    monkeypatch.setattr(file_pieces, "_IDLE", [])
    assert named(between(tmp_path), "w") == whole
    assert whole.difference_norm == pytest.approx(float(np.linalg.norm(b - a)), rel=1e-12)


def stored(array: Array) -> StoredTensor:
    data = memoryview(array.tobytes())
    return StoredTensor("w", array.shape, array.dtype.name, lambda: iter([data]))


arrays = hnp.arrays(np.float32, 40, elements=st.floats(width=32))


@given(arrays, arrays, st.booleans())
def test_values_equal_numpy(a: Array, b: Array, same: bool) -> None:
    b = a.copy() if same else b
    found = tensor_pairs.compare_values(stored(a), stored(b))
    both = np.isfinite(a) & np.isfinite(b)
    assert found.equal is (a.tobytes() == b.tobytes())
    assert found.became_bad == np.count_nonzero(np.isfinite(a) & ~np.isfinite(b))
    if not both.any():
        assert math.isnan(found.difference_norm)
        assert math.isnan(found.norm_a)
        return
    wide_a, wide_b = a[both].astype(np.float64), b[both].astype(np.float64)
    change = np.abs(wide_b - wide_a)
    assert found.max_change == change.max()
    assert found.difference_norm == pytest.approx(math.hypot(*change), rel=1e-11, abs=1e-300)
    assert found.norm_a == pytest.approx(math.hypot(*wide_a), rel=1e-11, abs=1e-300)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "complex64", "float8_e5m2"])
@pytest.mark.parametrize("where", [0, 5, 40_000, 99_999])
def test_values_that_become_bad_anywhere_leave_the_rest(dtype: str, where: int) -> None:
    """The norm of A leaves out what is not finite in B, however much came before it."""
    rng = np.random.default_rng(where)
    a = (rng.integers(1, 4, 100_000) * 0.25).astype(numpy_dtype(dtype))
    b = a.copy()
    b[where] = np.nan
    b[7] = b[7] * 0.5
    found = tensor_pairs.compare_values(stored(a), stored(b))
    parts = 2 if dtype == "complex64" else 1
    kept = np.delete(a, where).astype(np.complex128 if parts == 2 else np.float64)
    # A NaN is given to the real part of a complex number only.
    assert found.norm_a == pytest.approx(float(np.linalg.norm(kept)), rel=1e-12)
    assert found.became_bad == 1
    assert found.difference_norm == abs(complex(a[7])) / 2
