from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.sources import curve_pairs
from forensics.sources.curve_pairs import FEW, Curve, near_pairs


def curve(steps: list[int], values: list[float]) -> Curve:
    return np.array(steps, np.int64), np.array(values, np.float64)


def apart(first: Curve, second: Curve) -> int:
    """Values that two curves share one step apart, one by one."""
    one, other = (
        {(int(s), np.float32(v).item()) for s, v in zip(*c, strict=True)} for c in (first, second)
    )
    return sum((s + 1, v) in other for s, v in one) + sum((s + 1, v) in one for s, v in other)


points = st.tuples(st.integers(0, 5), st.sampled_from([0.5, 0.1, np.inf, -0.5]))
curves = st.lists(st.lists(points, unique_by=lambda point: point[0]), min_size=2, max_size=6).map(
    lambda found: [curve([s for s, _ in c], [v for _, v in c]) for c in found]
)


@given(found=curves)
def test_of_many_those_that_share_values(found: list[Curve]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curve_pairs, "FEW", 1)
        pairs = near_pairs(found, 2)
    expected = [
        (i, j)
        for i in range(len(found))
        for j in range(i + 1, len(found))
        if apart(found[i], found[j]) >= 2
    ]
    assert pairs == expected


def test_all_pairs_of_a_few() -> None:
    assert len(near_pairs([curve([0], [float(i)]) for i in range(FEW)], 3)) == FEW * (FEW - 1) // 2


def test_one_pair_among_a_thousand() -> None:
    rng = np.random.default_rng(1)
    found = [(np.arange(10, 60), rng.random(50)) for _ in range(1000)]
    found[700] = (found[20][0] + 1, found[20][1].astype(np.float32).astype(np.float64))
    assert near_pairs(found, 3) == [(20, 700)]


def test_a_value_that_everybody_has_pairs_nobody() -> None:
    flat = [curve(list(range(50)), [0.0] * 50) for _ in range(300)]
    assert near_pairs(flat, 3) == []
    assert near_pairs([curve([], [])] * 20, 3) == []
