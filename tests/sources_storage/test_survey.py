from __future__ import annotations

import os
from pathlib import Path

import pytest

from forensics.sources.recording import recorded_batches
from forensics.sources.storage.place import Directory
from forensics.sources.storage.tree import Tree


def survey(root: Path) -> Tree:
    return Directory(root).survey()


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_sorts_files_by_what_they_are(tmp_path: Path) -> None:
    events = [f"train/events.out.tfevents.{i}.host" for i in (9, 10, 100)]
    touch(tmp_path, *reversed(events), "ckpt/a.index", "m.keras", "w.weights.h5", "notes.txt")
    tree = survey(tmp_path)
    assert tree.events == events
    assert tree.checkpoints == ["ckpt/a.index", "m.keras", "w.weights.h5"]
    assert tree.others == ["notes.txt"]
    assert tree.warnings == []


def test_loops_of_links_end_and_nothing_is_listed_twice(tmp_path: Path) -> None:
    touch(tmp_path, "z/train/tfevents.1")
    (tmp_path / "z/train/up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a").symlink_to(tmp_path / "z", target_is_directory=True)
    (tmp_path / "tfevents.same").symlink_to(tmp_path / "z/train/tfevents.1")
    (tmp_path / "tfevents.self").symlink_to(tmp_path / "tfevents.self")
    os.link(tmp_path / "z/train/tfevents.1", tmp_path / "z/train/tfevents.hard")
    tree = survey(tmp_path)
    assert tree.events == ["tfevents.self", "z/train/tfevents.1"]


def test_links_to_what_lies_above_a_linked_directory_list_nothing_twice(tmp_path: Path) -> None:
    touch(tmp_path, "store/group/run/tfevents.1", "store/group/tfevents.2", "logs/tfevents.3")
    (tmp_path / "logs/run").symlink_to(tmp_path / "store/group/run", target_is_directory=True)
    (tmp_path / "store/group/run/up").symlink_to(tmp_path / "store", target_is_directory=True)
    tree = survey(tmp_path / "logs")
    assert tree.events == ["run/tfevents.1", "run/up/group/tfevents.2", "tfevents.3"]


def test_one_inode_for_everything_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/tfevents.1", "a/tfevents.2", "b/tfevents.1", "b/c/tfevents.1")
    real = os.stat

    def same(path: str) -> os.stat_result:
        fields = list(real(path))
        fields[1] = 7
        return os.stat_result(fields)

    monkeypatch.setattr("forensics.sources.storage.walk.os.stat", same)
    assert len(survey(tmp_path).events) == 4


def test_linked_directories_elsewhere_are_read(tmp_path: Path) -> None:
    touch(tmp_path, "store/run/tfevents.1")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/run").symlink_to(tmp_path / "store/run", target_is_directory=True)
    assert survey(tmp_path / "logs").events == ["run/tfevents.1"]


def test_an_unreadable_directory_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/tfevents.1", "b/tfevents.2")
    real = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("forensics.sources.storage.walk.os.scandir", refuse)
    tree = survey(tmp_path)
    assert tree.events == ["b/tfevents.2"]
    assert [(w.path, w.kind) for w in tree.warnings] == [("a", "denied")]


def test_depth_is_limited(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*(["d"] * 70))
    deep.mkdir(parents=True)
    (deep / "tfevents.1").touch()
    tree = survey(tmp_path)
    assert tree.events == []
    assert [w.kind for w in tree.warnings] == ["limit"]


def test_recorded_batches_by_name() -> None:
    found = recorded_batches(
        [
            "flight/batch-10.npz",
            "sub/flight/batch-0009.npz",
            "flight/manifest.json",
            "flight/batch-x.npz",
            "flight/batch-1.npz.tmp",
            "batch-3.npz",
            "flight/deeper/batch-4.npz",
            "flight/batch-" + "9" * 40 + ".npz",
        ]
    )
    assert [(b.step, b.path) for b in found] == [
        (9, "sub/flight/batch-0009.npz"),
        (10, "flight/batch-10.npz"),
    ]
