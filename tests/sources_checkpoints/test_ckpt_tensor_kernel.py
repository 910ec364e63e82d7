"""The compiled kernel and NumPy give the same bits, and both give what exact arithmetic gives."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.domain.run import TensorKind, TensorStats
from forensics.sources.checkpoints import tensor_tiers
from forensics.sources.checkpoints.dtypes import numpy_dtype
from forensics.sources.checkpoints.registry import find_checkpoints, open_checkpoint
from forensics.sources.checkpoints.summarise import summarise
from forensics.sources.checkpoints.tensor_blocks import BLOCK, COLUMNS, COUNT, LANES, Totals
from forensics.sources.checkpoints.tensor_encodings import encoding_of
from forensics.sources.checkpoints.tensor_stats import TensorSummary, statistics
from forensics.sources.checksum import crc32c
from forensics.sources.storage.place import Directory
from tests.sources_checkpoints.bundles import SHARD
from tests.sources_checkpoints.encode import bundle_index, entry

Array = npt.NDArray[Any]
SIZES = [0, 1, 2, LANES - 1, LANES, LANES + 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 130]
KERNEL = ["float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "int32"]
EVERY = [
    *KERNEL, "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e4m3b11fnuz",
    "float4_e2m1fn", "int4", "uint4", "int2", "uint2", "int8", "uint8", "bool", "int16", "uint16",
    "uint32", "int64", "uint64",
]  # fmt: skip


def planted(dtype: str, size: int, seed: int, *, wild: bool) -> Array:
    """Elements as stored: any bits at all, or a bell curve with some that are not finite."""
    rng = np.random.default_rng(seed)
    raw = encoding_of(numpy_dtype(dtype)).raw
    if wild:
        return np.frombuffer(rng.bytes(size * raw.itemsize), raw)
    values = rng.normal(0.5, 0.3, size)
    if "float" in dtype:
        values[rng.random(size) < 0.01 * (seed % 3)] = np.nan
        values[rng.random(size) < 0.01 * (seed % 2)] = -np.inf
    else:
        values *= 6
    with np.errstate(invalid="ignore"):
        return values.astype(numpy_dtype(dtype)).view(raw)


def both(raw: Array, dtype: str) -> tuple[Any, Any]:
    """Totals and records of NumPy and of the kernel, the records as integers."""
    encoding, answers = encoding_of(numpy_dtype(dtype)), []
    kernel = tensor_tiers.load_kernel()
    assert kernel is not None
    for measure in (tensor_tiers.in_numpy, kernel):
        records = np.zeros((-(-len(raw) // BLOCK), COLUMNS))
        totals = Totals()
        measure(raw, encoding, records, totals)
        found = (totals.counts.tolist(), totals.limits.tolist())
        answers.append((found, records[records[:, COUNT] > 0].view(np.int64).tolist()))
    return answers[0], answers[1]


@pytest.mark.parametrize("dtype", KERNEL)
@pytest.mark.parametrize("wild", [False, True])
def test_the_kernel_gives_the_bits_of_numpy(dtype: str, wild: bool) -> None:
    for seed, size in enumerate(SIZES[1:]):
        in_numpy, compiled = both(planted(dtype, size, seed, wild=wild), dtype)
        assert in_numpy == compiled, (size, seed)


@pytest.mark.parametrize(
    "values",
    [
        np.full(2 * BLOCK, np.nan),
        np.r_[np.full(BLOCK, np.inf), np.full(BLOCK, -np.inf), np.ones(5)],
        np.r_[np.nan, np.full(BLOCK - 1, 2.0), -0.0, 0.0],
        np.full(BLOCK + 3, 1e300),
        np.r_[np.full(BLOCK, 1e-320), np.full(BLOCK, 1e300), np.zeros(BLOCK), [np.nan, 1.0]],
        np.r_[np.full(70, np.nan), 1e308, np.full(70, -np.inf), -1e308],
    ],
)
def test_the_kernel_gives_the_bits_of_numpy_at_the_edges(values: Array) -> None:
    in_numpy, compiled = both(values, "float64")
    assert in_numpy == compiled
    with np.errstate(over="ignore"):
        in_numpy, compiled = both(values.astype(np.float32), "float32")
    assert in_numpy == compiled


def test_the_kernel_reads_bytes_that_are_not_aligned() -> None:
    data = b"x" + np.arange(BLOCK + 5, dtype=np.float32).tobytes()
    in_numpy, compiled = both(np.frombuffer(data, "<f4", offset=1), "float32")
    assert in_numpy == compiled


def test_lanes_are_added_row_by_row() -> None:
    """The order that the kernel follows is NumPy's, wherever NumPy is built."""
    lanes = np.random.default_rng(1).normal(size=(3, 64, LANES)) * 10.0 ** np.arange(64)[:, None]
    expected = np.zeros((3, LANES))
    for row in range(64):
        expected += lanes[:, row]
    assert np.array_equal(np.add.reduce(lanes, axis=1), expected)


def exact(values: list[float]) -> tuple[float, Fraction, Fraction]:
    """Mean, variance and sum of squares of finite numbers, without any rounding."""
    numbers = [Fraction(v) for v in values]
    mean = sum(numbers, Fraction(0)) / len(numbers)
    variance = sum(((v - mean) ** 2 for v in numbers), Fraction(0)) / len(numbers)
    return float(mean), variance, sum((v * v for v in numbers), Fraction(0))


def root(value: Fraction) -> float:
    """Square root that neither overflows nor underflows on the way."""
    if value == 0:
        return 0.0
    shift = (value.numerator.bit_length() - value.denominator.bit_length()) // 2 * 2
    scaled = value / Fraction(2) ** shift
    try:
        return math.ldexp(math.sqrt(scaled), shift // 2)
    except OverflowError:
        return math.inf


def check(stats: TensorStats, elements: list[float]) -> None:
    finite = [v for v in elements if math.isfinite(v)]
    assert stats.count == len(elements)
    assert stats.nan == sum(math.isnan(v) for v in elements)
    assert stats.pos_inf == elements.count(math.inf)
    assert stats.neg_inf == elements.count(-math.inf)
    assert stats.zero == elements.count(0.0)
    if not finite:
        moments = (stats.min, stats.max, stats.mean, stats.std, stats.l2_norm)
        assert all(math.isnan(v) for v in moments)
        return
    assert (stats.min, stats.max) == (min(finite), max(finite))
    mean, variance, squares = exact(finite)
    largest = max(abs(v) for v in finite)
    tiny = 5e-324
    assert stats.mean == pytest.approx(mean, rel=1e-12, abs=max(1e-15 * largest, tiny))
    assert stats.std == pytest.approx(root(variance), rel=1e-11, abs=tiny)
    assert stats.l2_norm == pytest.approx(root(squares), rel=1e-12, abs=tiny)


floats = st.floats(allow_subnormal=True, width=64)
clustered = st.builds(
    lambda middle, parts: [middle + middle * 2.0**-40 * p for p in parts],
    st.floats(-1e9, 1e9),
    st.lists(st.integers(-9, 9), min_size=1, max_size=20),
)


@given(st.one_of(st.lists(floats, max_size=70), clustered))
def test_float64_equals_exact_arithmetic(elements: list[float]) -> None:
    check(statistics("w", TensorKind.WEIGHT, np.array(elements, np.float64)), elements)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=70))
def test_any_bits_of_float32_equal_exact_arithmetic(bits: list[int]) -> None:
    array = np.array(bits, np.uint32).view(np.float32)
    with np.errstate(invalid="ignore"):
        check(statistics("w", TensorKind.WEIGHT, array), [float(v) for v in array])


@pytest.mark.parametrize("dtype", EVERY)
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), size=st.integers(0, 90))
def test_any_bits_of_any_dtype_equal_exact_arithmetic(dtype: str, seed: int, size: int) -> None:
    stored = planted(dtype, size, seed, wild=True)
    array = (stored & 1 if dtype == "bool" else stored).view(numpy_dtype(dtype))
    with np.errstate(invalid="ignore"):
        elements = [float(v) for v in array]
    check(statistics("w", TensorKind.WEIGHT, array), elements)


@given(
    cuts=st.lists(st.integers(0, 3 * BLOCK + 130), max_size=8),
    dtype=st.sampled_from(["float32", "bfloat16", "complex64"]),
)
def test_pieces_do_not_change_a_bit(cuts: list[int], dtype: str) -> None:
    rng = np.random.default_rng(5)
    array = rng.normal(3, 1, 3 * BLOCK + 130).astype(numpy_dtype(dtype))
    array[17::1000] = np.nan
    summary = TensorSummary()
    for part in np.split(array, sorted(cuts)):
        summary.add(part)
    joined = summary.finish("w", TensorKind.WEIGHT, array.shape, dtype)
    assert repr(joined) == repr(statistics("w", TensorKind.WEIGHT, array))


def test_records_are_joined_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large a tensor is, only so many blocks are remembered."""
    array = np.random.default_rng(2).normal(7, 0.01, 40 * BLOCK + 9)
    whole = statistics("w", TensorKind.WEIGHT, array)
    monkeypatch.setattr("forensics.sources.checkpoints.tensor_stats._MOST_RECORDS", 4)
    joined = statistics("w", TensorKind.WEIGHT, array)
    assert joined.mean == pytest.approx(whole.mean, rel=1e-14)
    assert joined.std == pytest.approx(whole.std, rel=1e-12)
    assert joined.l2_norm == pytest.approx(whole.l2_norm, rel=1e-14)
    assert (joined.count, joined.min, joined.max) == (whole.count, whole.min, whole.max)


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3fn, np.float16, np.float32, np.float64])
def test_an_outlier_does_not_hide_the_rest(dtype: Any) -> None:
    array = np.r_[200.0, np.full(BLOCK, 0.25)].astype(dtype)
    check(statistics("w", TensorKind.WEIGHT, array), [float(v) for v in array])


def test_without_the_kernel_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    tiers = tensor_tiers._Tiers()
    monkeypatch.setattr(tensor_tiers, "_TIERS", tiers)
    array = np.random.default_rng(4).normal(size=5 * BLOCK + 11).astype(np.float32)
    before = statistics("w", TensorKind.WEIGHT, array)
    assert tiers.kernel is None
    tensor_tiers.expect(tensor_tiers.PAYS)
    assert tiers.kernel is not None
    assert statistics("w", TensorKind.WEIGHT, array) == before


@pytest.mark.slow
@pytest.mark.parametrize("problem", ["broken", "nowhere"])
def test_a_cache_that_is_of_no_use_costs_only_time(tmp_path: Path, problem: str) -> None:
    """Machine code that was kept and is broken, and no folder to keep it in."""
    code = (
        "import numpy as np\n"
        "from forensics.domain.run import TensorKind\n"
        "from forensics.sources.checkpoints import tensor_tiers\n"
        "from forensics.sources.checkpoints.tensor_stats import statistics\n"
        "tensor_tiers.expect(tensor_tiers.PAYS)\n"
        "assert tensor_tiers._TIERS.kernel is not None\n"
        "print(statistics('w', TensorKind.WEIGHT, np.arange(5000, dtype=np.int16)).mean)\n"
    )
    folder = tmp_path / "cache"
    if problem == "nowhere":
        folder.write_text("a file where a folder is needed")
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True,
            env={**os.environ, "NUMBA_CACHE_DIR": str(folder)},
        )  # fmt: skip
        assert run.stdout == "2499.5\n"
        if problem == "nowhere":
            break
        kept = list(folder.rglob("*.nbc"))
        assert kept
        for file in kept:
            file.write_bytes(b"broken")


@pytest.mark.slow
def test_kernels_that_were_kept_by_different_processes_stay_apart(tmp_path: Path) -> None:
    """Numba numbers functions per process: two of one name and number would become one."""
    code = (
        "import sys, numpy as np\n"
        "from forensics.sources.checkpoints import tensor_kernel, tensor_tiers\n"
        "from forensics.sources.checkpoints.dtypes import numpy_dtype\n"
        "from forensics.sources.checkpoints.tensor_blocks import Totals\n"
        "from forensics.sources.checkpoints.tensor_encodings import encoding_of\n"
        "for name in sys.argv[1:]:\n"
        "    encoding = encoding_of(numpy_dtype(name))\n"
        "    raw = np.arange(1, 5001, dtype=np.uint64).astype(encoding.raw)\n"
        "    found = []\n"
        "    for measure in (tensor_kernel.measure, tensor_tiers.in_numpy):\n"
        "        records, totals = np.zeros((2, 5)), Totals()\n"
        "        measure(raw, encoding, records, totals)\n"
        "        found.append((records.tolist(), totals.counts.tolist(), totals.limits.tolist()))\n"
        "    assert found[0] == found[1], name\n"
    )
    dtypes = ["int16", "bfloat16", "float16", "int32", "float32", "float8_e4m3fn"]
    for chosen in (*([dtype] for dtype in dtypes), dtypes, dtypes[::-1]):
        subprocess.run(
            [sys.executable, "-c", code, *chosen],
            check=True, env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        )  # fmt: skip


def test_a_large_tensor_takes_little_memory(tmp_path: Path) -> None:
    """128 MB that were never written, read in pieces and measured without the kernel."""
    elements = 1 << 25
    zeros, crc = bytes(1 << 20), 0
    for _ in range(4 * elements >> 20):
        crc = crc32c(zeros, crc)
    index = bundle_index([(b"w", entry(1, [elements], 0, 4 * elements, crc))])
    (tmp_path / "ckpt-1.index").write_bytes(index)
    with (tmp_path / f"ckpt-1{SHARD}").open("wb") as file:
        file.truncate(4 * elements)
    place = Directory(tmp_path)
    (form, claim) = next(iter(find_checkpoints(place.survey().files, place)))
    tracemalloc.start()
    try:
        with open_checkpoint(place, form, claim) as checkpoint:
            (stats,) = (summarise(tensor) for tensor in checkpoint.stored)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (stats.count, stats.zero, stats.l2_norm) == (elements, elements, 0.0)
    assert peak < 16 << 20
