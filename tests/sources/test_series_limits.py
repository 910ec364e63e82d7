"""Too many tags are said, and the first ones kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from forensics.domain.quantity import Quantity
from forensics.sources import series
from forensics.sources.logdir import read
from tests.sources import event_writer as ew


def test_series_beyond_the_limits_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "_MOST_SERIES", 6)
    monkeypatch.setattr(series, "_MOST_MEANINGS", 4)
    tags = [f"{index}/loss" for index in range(9)]
    ew.write(tmp_path, *(ew.scalars(tag, [1.0, 2.0]) for tag in tags))
    run = read(tmp_path)
    assert [s.tag for s in run.series] == tags[:6]
    assert [s.quantity is Quantity.TRAIN_LOSS for s in run.series] == [True] * 4 + [False] * 2
    assert [(w.kind, w.detail.split()[:3]) for w in run.warnings] == [
        ("limit", ["3", "of", "9"]),
        ("limit", ["2", "of", "6"]),
    ]
