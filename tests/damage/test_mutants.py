"""Mutants of every format, raw and below repaired checksums, held to the contract of readers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.damage.contract import Tally, check
from tests.damage.specimens import specimens

PAIRS = [(name, damage) for name, found in specimens().items() for damage in found.damages]
FEW, MANY = 100, 500


@pytest.mark.parametrize(("name", "damage"), PAIRS)
def test_mutants(tmp_path: Path, name: str, damage: str) -> None:
    _holds(check(name, damage, range(FEW), tmp_path), FEW)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "damage"), PAIRS)
def test_many_mutants(tmp_path: Path, name: str, damage: str) -> None:
    _holds(check(name, damage, range(FEW, MANY), tmp_path), MANY - FEW)


def _holds(tally: Tally, count: int) -> None:
    assert not tally.faults, "\n".join(tally.faults[:5])
    assert sum(tally.ends.values()) == count


def test_nine_of_ten_records_are_salvaged(tmp_path: Path) -> None:
    tally = check("events", "raw", range(FEW), tmp_path, seed="salvage")
    _holds(tally, FEW)
    assert tally.kept >= 0.9 * tally.sound
