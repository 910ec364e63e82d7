"""A scan over data whose order nobody recorded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from forensics.domain.replay import Phase, ReplayStatus, TrialStatus
from forensics.replay.request import ReplayOptions
from forensics.replay.worker.scanning.reruns import shuffled
from forensics.replay.worker.scanning.scan_pass import center_and_spread
from tests.replay.replaying import replay

SCAN = ReplayOptions(scan=True)


def test_shuffling_keeps_every_item_and_few_in_memory() -> None:
    pulled: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            pulled.append(item)
            yield item

    order = []
    for item in shuffled(items(), np.random.RandomState(1), 8):
        order.append(item)
        assert len(pulled) - len(order) <= 8
    assert sorted(order) == list(range(100)) != order
    assert order == list(shuffled(iter(range(100)), np.random.RandomState(1), 8))
    assert list(shuffled(iter([]), np.random.RandomState(1), 8)) == []


def test_the_spread_of_batches_is_robust() -> None:
    center, spread = center_and_spread([1.0, 1.1, 0.9, 1.0, 1e9, None, float("nan")])
    assert center == 1.0 and 0.1 <= spread < 0.2
    assert center_and_spread([2.0, 2.0]) == (2.0, 0.002)
    assert center_and_spread([]) == (0.0, 0.0)


@pytest.mark.tf
def test_one_bad_row_of_shuffled_data_is_found() -> None:
    result = replay(
        "shuffled", "one_bad_row_case", failing_step=14, options=SCAN, trial_seconds=30.0
    )
    assert result.status is ReplayStatus.REPRODUCED, result.reason
    assert (result.step, result.symptom) == (14, "loss")
    assert "found by a scan, not by its step" in result.reason
    assert result.origin is not None
    assert (result.origin.op_type, result.origin.phase) == ("Log", Phase.LOSS)
    scan = result.scan
    assert scan is not None and scan.complete and scan.batches == 10
    assert scan.started_from is None
    assert [b.non_finite for b in scan.ranked] == [True] + [False] * 9
    assert scan.ranked[0].rows == result.samples == result.minimal_batch
    assert len(result.samples) == 1 and result.culprits == (result.samples,)
    assert (scan.reruns, scan.reproduced) == (3, 3)
    assert [a.seed for a in result.attempts if a.seed is not None] == [1, 2, 3]
    # the steps round the failing one are run on batches that the scan saw healthy
    fixed = [t for t in result.trials if t.status is TrialStatus.FIXED]
    assert fixed and all(t.steps_survived is not None and t.steps_survived > 50 for t in fixed)


@pytest.mark.tf
def test_a_scan_finds_nothing_where_nothing_is_wrong() -> None:
    result = replay("shuffled", "healthy_case", failing_step=14, options=SCAN)
    assert result.status is ReplayStatus.NOT_REPRODUCED
    scan = result.scan
    assert scan is not None and scan.complete and scan.batches == 10
    assert not any(b.non_finite or b.rows for b in scan.ranked)
    assert all(b.loss is not None and np.isfinite(b.loss) for b in scan.ranked)
    assert all(b.gradient_norm is not None and b.gradient_norm > 0 for b in scan.ranked)
    assert (scan.reruns, scan.reproduced) == (3, 0)
    assert "no batch of 10 fails by itself" in result.reason
    assert result.origin is None and result.samples == ()


@pytest.mark.tf
@pytest.mark.slow
def test_a_failure_that_takes_many_updates_is_met_in_another_order() -> None:
    result = replay("shuffled", "high_rate_case", failing_step=120, interval=(0, 120), options=SCAN)
    assert result.status is ReplayStatus.REPRODUCED, result.reason
    scan = result.scan
    assert scan is not None and not any(b.non_finite for b in scan.ranked)
    assert scan.reruns == scan.reproduced == 3
    assert result.step == 120
    assert "no batch fails by itself from the built state, but" in result.reason
    # by then the weights are so large that no single row is to blame
    assert len(result.samples) != 1 and result.row_notes


@pytest.mark.tf
def test_a_finite_outlier_is_ranked_first_and_its_row_named() -> None:
    result = replay("shuffled", "outlier_case", options=SCAN)
    assert result.status is ReplayStatus.NOT_REPRODUCED
    scan = result.scan
    assert scan is not None and scan.complete
    worst, *rest = scan.ranked
    assert worst.batch == 5 and worst.rows == (2,) and not worst.non_finite
    assert worst.loss is not None and worst.gradient_norm is not None
    assert all(b.gradient_norm is not None and b.gradient_norm < worst.gradient_norm for b in rest)
    assert not any(b.rows for b in rest)
    # nothing failed in this run: the data is not gone over again
    assert scan.reruns == 0
    assert "a scan found no batch that fails among 11" in result.reason
