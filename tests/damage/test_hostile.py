"""Hostile files: a typed finding within bounds of memory, never an exception, a crash or a hang."""

from __future__ import annotations

from pathlib import Path

import pytest

from forensics.sources.events.tiers import SWITCH
from tests.damage.confined import confined
from tests.damage.contract import read_all, write
from tests.damage.hostile import hostiles
from tests.damage.specimens import NEIGHBOUR, neighbour

MEMORY = 256 << 20
SECONDS = 20.0
"""The aim is 2 s; a machine that is busy with other things must not fail a test."""

HARMLESS = {
    "links in circles",
    "directories by the names of files",
    # TensorFlow fills a tensor with its last value: these are one number, and take its memory.
    "tensor of 2**31 elements",
    "tensor of 2**40 elements",
}


LOGS = [name for name in hostiles() if name.split()[0] in ("record", "tensor", "histogram", "text",
        "groups", "hparams", "a", "gzip")]  # fmt: skip


@pytest.mark.parametrize("name", hostiles())
def test_hostile(tmp_path: Path, name: str) -> None:
    _holds(tmp_path, name)


@pytest.mark.parametrize("name", LOGS)
def test_hostile_logs_by_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(SWITCH, "1")
    _holds(tmp_path, name)


def _holds(tmp_path: Path, name: str) -> None:
    hostile = hostiles()[name]
    hostile.make(tmp_path)
    write(tmp_path, {NEIGHBOUR: neighbour()})
    outcome = confined(read_all, tmp_path, start=SECONDS, memory=MEMORY)
    assert outcome.error == ""
    assert outcome.grown < MEMORY
    beside, complains, slugs = outcome.value
    assert beside == 3
    if name in HARMLESS:
        return
    assert complains
    assert slugs
    if hostile.slugs:
        assert slugs & hostile.slugs, slugs
