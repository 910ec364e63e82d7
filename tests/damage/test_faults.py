"""I/O faults at every call index, files that shrink, and every prefix of an event file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from forensics.domain.run import InputState
from forensics.sources.logdir import read
from tests.damage.confined import confined
from tests.damage.faults import FAULTS, every_call, shrinking
from tests.damage.specimens import EVENTS, events, specimens
from tests.sources import event_writer as ew

COMMON = ("EIO", "nothing more to read")


@pytest.mark.parametrize("name", specimens())
def test_a_fault_at_every_call(tmp_path: Path, name: str) -> None:
    _holds(tmp_path, name, COMMON)


@pytest.mark.slow
@pytest.mark.parametrize("name", specimens())
def test_other_faults_at_every_call(tmp_path: Path, name: str) -> None:
    _holds(tmp_path, name, sorted(set(FAULTS) - set(COMMON)))


def _holds(folder: Path, name: str, kinds: Sequence[str]) -> None:
    outcome = confined(every_call, name, str(folder), kinds, start=300)
    assert outcome.error == ""
    assert outcome.value == []


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    content = ew.VERSION + b"".join(
        ew.scalars(f"tag/{index}", [1.0] * 200, wall=ew.START + 300 * index) for index in range(10)
    )
    path = tmp_path / EVENTS
    path.write_bytes(content * 120)
    assert path.stat().st_size > 12 << 20
    outcome = confined(shrinking, str(path), 6, start=300)
    assert outcome.error == ""
    assert outcome.value == 6


def test_every_prefix_of_an_event_file(tmp_path: Path) -> None:
    content = events(6)
    path = tmp_path / EVENTS
    ends = _ends(content)
    for size in range(len(content)):
        path.write_bytes(content[:size])
        run = read(tmp_path)
        [file] = run.inputs
        whole = InputState.COMPLETE if size in ends else InputState.INCOMPLETE_TAIL
        assert (file.state, run.warnings) == (whole, ()), size


def _ends(content: bytes) -> set[int]:
    """Where records end; the beginning counts as an end."""
    found, position = {0}, 0
    while position < len(content):
        position += int.from_bytes(content[position : position + 8], "little") + 16
        found.add(position)
    return found
