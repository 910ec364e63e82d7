"""The first poisoned checkpoint of a series: all read on a disk, bisected where it is remote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.domain.checkpoint import CheckpointSeries, SearchMethod
from forensics.sources.checkpoints.registry import find_checkpoints
from forensics.sources.checkpoints.series import first_poisoned
from forensics.sources.storage.place import Directory, Place
from tests.sources_checkpoints.bundles import SHARD, write_bundle

CLEAN, POISONED, DAMAGED = "clean", "poisoned", "damaged"


class Far(Directory):
    """A directory that says that it is remote."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.local = None


def plant(root: Path, states: Sequence[str]) -> list[str]:
    """Checkpoints of steps 10, 20, ... in these states."""
    names = []
    for number, state in enumerate(states, 1):
        names.append(f"model.ckpt-{10 * number}")
        w = np.array([1.0, np.nan if state == POISONED else 2.0])
        write_bundle(root / names[-1], {"w": w, "global_step": np.array(10 * number)})
        if state == DAMAGED:
            shard = root / f"{names[-1]}{SHARD}"
            shard.write_bytes(bytes(len(shard.read_bytes())))
    return names


def search(root: Path, *, remote: bool = False) -> CheckpointSeries:
    place: Place = Far(root) if remote else Directory(root)
    return first_poisoned(place, list(find_checkpoints(place.survey().files, place)))


def test_all_are_read_on_a_disk(tmp_path: Path) -> None:
    names = plant(tmp_path, [CLEAN, CLEAN, POISONED, CLEAN, POISONED])
    found = search(tmp_path)
    assert (found.first_poisoned, found.last_clean) == (names[2], names[1])
    assert found.method is SearchMethod.ALL
    assert found.listed == tuple(names)
    assert [c.path for c in found.checkpoints] == names


def test_a_series_without_poison(tmp_path: Path) -> None:
    plant(tmp_path, [CLEAN] * 3)
    found = search(tmp_path)
    assert (found.first_poisoned, found.last_clean) == (None, None)


def test_the_first_of_all_has_no_clean_one_before_it(tmp_path: Path) -> None:
    names = plant(tmp_path, [POISONED, POISONED])
    found = search(tmp_path)
    assert (found.first_poisoned, found.last_clean) == (names[0], None)


def test_a_damaged_one_is_neither(tmp_path: Path) -> None:
    names = plant(tmp_path, [CLEAN, DAMAGED, POISONED])
    found = search(tmp_path)
    assert (found.first_poisoned, found.last_clean) == (names[2], names[0])
    assert {w.kind for w in found.warnings} == {"crc_mismatch"}


def test_remote_ones_are_bisected(tmp_path: Path) -> None:
    names = plant(tmp_path, [CLEAN] * 20 + [POISONED] * 12)
    found = search(tmp_path, remote=True)
    assert (found.first_poisoned, found.last_clean) == (names[20], names[19])
    assert found.method is SearchMethod.BISECTION
    assert found.listed == tuple(names)
    assert len(found.checkpoints) <= 7
    assert len(found.inputs) == 2 * len(found.checkpoints)


def test_a_few_remote_ones_are_all_read(tmp_path: Path) -> None:
    plant(tmp_path, [CLEAN, POISONED, CLEAN])
    found = search(tmp_path, remote=True)
    assert found.method is SearchMethod.ALL
    assert len(found.checkpoints) == 3


@pytest.mark.parametrize("states", [[CLEAN] * 9, [POISONED] * 9, [DAMAGED] * 6])
def test_bisection_of_one_kind(tmp_path: Path, states: list[str]) -> None:
    names = plant(tmp_path, states)
    found = search(tmp_path, remote=True)
    assert found.first_poisoned == (names[0] if states[0] == POISONED else None)


@settings(max_examples=30)
@given(
    clean=st.integers(0, 9),
    poisoned=st.integers(0, 9),
    damaged=st.sets(st.integers(0, 17), max_size=5),
)
def test_bisection_finds_what_reading_all_finds(
    tmp_path_factory: pytest.TempPathFactory, clean: int, poisoned: int, damaged: set[int]
) -> None:
    """As long as poison stays; damaged checkpoints anywhere tell nothing."""
    states = [CLEAN] * clean + [POISONED] * poisoned
    states = [DAMAGED if i in damaged else state for i, state in enumerate(states)]
    root = tmp_path_factory.mktemp("series")
    plant(root, states)
    near, far = search(root), search(root, remote=True)
    assert far.first_poisoned == near.first_poisoned
