"""Whatever a reader reads on a disk it reads elsewhere, with the same answers."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forensics.domain.run import CheckpointStats, InputState, Run
from forensics.sources.logdir import read_place
from forensics.sources.storage.object_store import ObjectStore
from forensics.sources.storage.place import Directory
from tests.sources_storage.fake_filesystem import FakeFilesystem

TESTS = Path(__file__).resolve().parents[1]
FIXTURES = TESTS.parent / "fixtures"
FOLDERS = sorted(
    folder
    for folder in [*(TESTS / "data").iterdir(), *FIXTURES.glob("*/*")]
    if any(f.suffix not in (".zip", ".md", ".py") for f in folder.rglob("*") if f.is_file())
)
ARCHIVES = sorted((TESTS / "data").rglob("*.zip"))


def told(run: Run) -> dict[str, Any]:
    """All that is said of a run but what tells where it lies."""
    return {
        "series": [
            (s.tag, s.writer, s.quantity, s.step_axis, s.steps.tolist(), s.values.tobytes())
            for s in run.series
        ],
        "checkpoints": [repr(_without_config(c)) for c in run.checkpoint_stats],
        "config": repr(run.config),
        "settings": [repr(c.config) for c in run.checkpoint_stats],
        "recordings": run.recordings,
        "dumps": run.debug_dumps,
        "warnings": run.warnings,
        "inputs": [(i.path, i.kind, i.bytes, i.state) for i in run.inputs],
    }


def _without_config(checkpoint: CheckpointStats) -> CheckpointStats:
    return replace(checkpoint, config={})


def remote(root: Path) -> ObjectStore:
    files = {
        f"bucket/run/{f.relative_to(root).as_posix()}": f.read_bytes()
        for f in root.rglob("*")
        if f.is_file()
    }
    return ObjectStore(FakeFilesystem(files), "bucket/run", "s3://bucket/run")


def compare(root: Path) -> None:
    here = read_place(Directory(root), several=True)
    there = read_place(remote(root), several=True)
    assert told(there) == told(here)
    assert all(
        i.sha256 is None and (i.etag or i.state is InputState.DENIED)
        for i in there.inputs
        if i.kind != "directory"
    )


@pytest.mark.parametrize("root", FOLDERS, ids=lambda root: f"{root.parent.name}-{root.name}")
def test_folders(root: Path) -> None:
    compare(root)


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_archives_of_folders(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path)
    compare(tmp_path)
