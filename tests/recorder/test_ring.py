"""Which files the ring keeps, for every step of a run; no TensorFlow."""

from __future__ import annotations

from pathlib import Path

import pytest

from forensics.recorder.ring import Ring


@pytest.mark.parametrize(("keep", "every"), [(8, 50), (5, 7), (3, 3), (9, 2), (1, 1)])
def test_the_last_steps_can_always_be_run_again_from_a_state(
    tmp_path: Path, keep: int, every: int
) -> None:
    ring = Ring(tmp_path, keep, every)
    ring.open()
    for step in range(4 * every + 3 * keep):
        advance(ring, step)
        states, batches = steps(tmp_path, "state"), steps(tmp_path, "batch")
        assert batches[-1] == step
        assert batches == list(range(batches[0], step + 1)), "no gap"
        assert states[0] == batches[0], "every batch since the older state"
        assert states[0] <= max(0, step - keep), "a lead for remedies"
        assert len(batches) <= every + keep
        assert len(states) <= 2 + keep // every


def test_the_first_failure_stays(tmp_path: Path) -> None:
    ring = Ring(tmp_path, 4, 10)
    ring.open()
    for step in range(26):
        advance(ring, step)
    assert ring.freeze(25)
    for step in range(26, 80):
        advance(ring, step)
    assert not ring.freeze(42), "the first failure is the one that counts"
    assert steps(tmp_path, "state") == [20]
    assert steps(tmp_path, "batch") == list(range(20, 30)), "the failure and four steps after it"


def test_a_new_process_moves_the_earlier_recording_aside(tmp_path: Path) -> None:
    for first in (0, 100, 200):
        (tmp_path / "batch-000000999.npz.part").write_bytes(b"cut off")
        ring = Ring(tmp_path, 2, 5)
        ring.open()
        assert steps(tmp_path, "batch") == steps(tmp_path, "state") == []
        for step in range(first, first + 4):
            advance(ring, step)
    assert steps(tmp_path / "before", "batch") == [100, 101, 102, 103]
    assert steps(tmp_path, "batch") == [200, 201, 202, 203]
    assert not list(tmp_path.glob("*.part"))


def advance(ring: Ring, step: int) -> None:
    if ring.wants_state(step):
        ring.state_path(step).touch()
        ring.added_state(step)
    if ring.wants_batch(step):
        ring.batch_path(step).touch()
        ring.added_batch(step)


def steps(folder: Path, kind: str) -> list[int]:
    return sorted(int(f.stem.split("-")[1]) for f in folder.glob(f"{kind}-*.npz"))
