"""Statistics of one tensor: exact counts, moments that neither overflow nor depend on chunks."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forensics.domain.run import TensorKind
from forensics.sources.checkpoints.tensor_blocks import BLOCK
from forensics.sources.checkpoints.tensor_stats import TensorSummary, statistics

WEIGHT = TensorKind.WEIGHT


def of(array: npt.ArrayLike, dtype: Any = None) -> Any:
    return statistics("w", WEIGHT, np.asarray(array, dtype))


@given(
    hnp.arrays(np.float32, st.integers(0, 60), elements=st.floats(width=32, allow_subnormal=True))
)
def test_equals_numpy_on_finite_elements(array: npt.NDArray[np.float32]) -> None:
    stats = of(array)
    wide = array.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    assert stats.count == array.size
    assert stats.nan == np.isnan(wide).sum()
    assert stats.pos_inf == (wide == np.inf).sum()
    assert stats.neg_inf == (wide == -np.inf).sum()
    assert stats.zero == (wide == 0).sum()
    if finite.size:
        largest = float(np.abs(finite).max())
        assert (stats.min, stats.max) == (finite.min(), finite.max())
        assert stats.mean == pytest.approx(finite.mean(), rel=1e-9, abs=1e-12 * largest)
        assert stats.std == pytest.approx(finite.std(), rel=1e-9, abs=1e-9 * largest)
        assert stats.l2_norm == pytest.approx(np.linalg.norm(finite), rel=1e-9)
    else:
        assert all(
            math.isnan(v) for v in (stats.min, stats.max, stats.mean, stats.std, stats.l2_norm)
        )


@given(st.lists(st.integers(0, 200), max_size=6), st.sampled_from([1e-200, 1.0, 1e200]))
def test_chunks_do_not_matter(cuts: list[int], scale: float) -> None:
    array = np.random.default_rng(3).normal(2, 1, 200) * scale
    array[::7] *= 1e-150
    summary = TensorSummary()
    for part in np.split(array, sorted(cuts)):
        summary.add(part)
    joined = summary.finish("w", WEIGHT, (200,), "float64")
    whole = of(array)
    assert (joined.count, joined.min, joined.max) == (whole.count, whole.min, whole.max)
    assert joined.mean == pytest.approx(whole.mean, rel=1e-12)
    assert joined.std == pytest.approx(whole.std, rel=1e-12)
    assert joined.l2_norm == pytest.approx(whole.l2_norm, rel=1e-12)


def test_large_arrays_equal_numpy() -> None:
    array = np.random.default_rng(0).normal(3, 2, 3 * BLOCK + 17).astype(np.float32)
    stats, wide = of(array), array.astype(np.float64)
    assert stats.mean == pytest.approx(wide.mean(), rel=1e-12)
    assert stats.std == pytest.approx(wide.std(), rel=1e-12)
    assert stats.l2_norm == pytest.approx(np.linalg.norm(wide), rel=1e-12)


def test_squares_beyond_float64() -> None:
    stats = of([3e300, -4e300, np.nan, np.inf])
    assert (stats.nan, stats.pos_inf, stats.bad) == (1, 1, 2)
    assert stats.l2_norm == pytest.approx(5e300)
    assert stats.mean == pytest.approx(-0.5e300)
    assert stats.std == pytest.approx(3.5e300)


def test_squares_below_float64() -> None:
    stats = of([3e-300, 4e-300])
    assert stats.l2_norm == pytest.approx(5e-300)
    assert stats.std == pytest.approx(0.5e-300)


def test_a_norm_beyond_float64_is_infinite() -> None:
    stats = of(np.full(100, 1.7e308))
    assert stats.l2_norm == math.inf
    assert stats.mean == pytest.approx(1.7e308)


def test_large_float32_squares_do_not_overflow() -> None:
    assert of([1e38, 1e38], np.float32).l2_norm == pytest.approx(math.sqrt(2) * 1e38)


def test_a_constant_has_no_spread() -> None:
    assert of(np.full(3 * BLOCK, 0.1, np.float32)).std == 0.0


@pytest.mark.parametrize(
    ("array", "dtype", "minimum", "maximum", "bad"),
    [
        (np.array([1, np.nan, 2], ml_dtypes.bfloat16), "bfloat16", 1, 2, 1),
        (np.array([1, np.inf], np.float16), "float16", 1, 1, 1),
        (np.array([1, np.nan], ml_dtypes.float8_e4m3fn), "float8_e4m3fn", 1, 1, 1),
        (np.array([-7, 3], np.int8), "int8", -7, 3, 0),
        (np.array(2**63, np.uint64), "uint64", 2.0**63, 2.0**63, 0),
        (np.array([True, False]), "bool", 0, 1, 0),
        (np.array([-2, 3], ">f4"), "float32", -2, 3, 0),
    ],
)
def test_dtypes(array: Any, dtype: str, minimum: float, maximum: float, bad: int) -> None:
    stats = statistics("w", WEIGHT, array)
    assert (stats.dtype, stats.shape) == (dtype, array.shape)
    assert (stats.min, stats.max, stats.bad) == (minimum, maximum, bad)


def test_parts_of_complex_numbers_are_values() -> None:
    stats = of([complex(3, math.nan), complex(0, -4)], np.complex64)
    assert (stats.count, stats.nan, stats.zero) == (4, 1, 1)
    assert stats.l2_norm == pytest.approx(5)


def test_strings_are_counted() -> None:
    stats = statistics("s", TensorKind.OTHER, np.array(["a", "b"]))
    assert (stats.count, stats.dtype, stats.bad) == (2, "string", 0)
    assert math.isnan(stats.max)


def test_signalling_nans_are_counted_without_a_warning() -> None:
    assert of(np.array([0x7F800001, 0x3F800000], "<u4").view("<f4")).nan == 1
