"""What dates a failure: the replay that stepped to it, else the files."""

from __future__ import annotations

from forensics.domain.replay import ReplayResult, ReplayStatus, ScanResult
from forensics.pipeline.dating import date_failure
from forensics.pipeline.target import Target

TARGET = Target("non_finite", 40, (12, 40), tag="loss")


def test_a_replay_that_stepped_to_the_failure_dates_it() -> None:
    date = date_failure(ReplayResult(ReplayStatus.REPRODUCED, "", step=17), TARGET)
    assert (date.step, date.interval) == (17, (17, 17))


def test_a_scan_finds_a_batch_and_leaves_the_date_to_the_files() -> None:
    scan = ScanResult(None, 10, True)
    found = ReplayResult(ReplayStatus.REPRODUCED, "", step=40, scan=scan)
    assert date_failure(found, TARGET).interval == (12, 40)
