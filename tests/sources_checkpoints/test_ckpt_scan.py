"""Finding checkpoints below a directory: order, records, what is refused."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from forensics.domain.run import CheckpointStatus, InputState
from forensics.sources.checkpoints.scan import read_checkpoints
from forensics.sources.storage import blob
from forensics.sources.storage.local_file import LocalFile
from forensics.sources.storage.place import Directory

DATA = Path(__file__).resolve().parents[1] / "data" / "checkpoints"
ADAM = DATA / "adam"


def copy(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in ADAM.iterdir():
        shutil.copy(path, folder / path.name.replace("ckpt-1", name))


def test_order_paths_and_records(tmp_path: Path) -> None:
    copy(tmp_path / "b", "ckpt-1")
    copy(tmp_path / "a" / "deep", "ckpt-1")
    shutil.copytree(DATA / "partitioned", tmp_path / "c")
    scan = read_checkpoints(Directory(tmp_path))
    assert [(c.step, c.path) for c in scan.checkpoints] == [
        (1, "c/model.ckpt-1"), (4, "a/deep/ckpt-1"), (4, "b/ckpt-1"),
    ]  # fmt: skip
    assert scan.warnings == ()
    index = tmp_path / "b" / "ckpt-1.index"
    record = next(i for i in scan.inputs if i.path == "b/ckpt-1.index")
    assert record.sha256 == hashlib.sha256(index.read_bytes()).hexdigest()
    assert (record.bytes, record.kind) == (index.stat().st_size, "checkpoint_index")
    assert {i.kind for i in scan.inputs} == {"checkpoint_index", "checkpoint_data"}


def test_nothing_to_find(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "faiss.index").write_bytes(b"no bundle")
    scan = read_checkpoints(Directory(tmp_path))
    assert (scan.checkpoints, scan.inputs, scan.warnings) == ((), (), ())


def test_a_missing_directory(tmp_path: Path) -> None:
    scan = read_checkpoints(Directory(tmp_path / "missing"))
    assert scan.checkpoints == ()
    assert [w.kind for w in scan.warnings] == ["denied"]


def test_an_index_without_its_magic_beside_data(tmp_path: Path) -> None:
    copy(tmp_path, "ckpt-1")
    (tmp_path / "ckpt-1.index").write_bytes(b"\0" * 200)
    scan = read_checkpoints(Directory(tmp_path))
    assert [c.status for c in scan.checkpoints] == [CheckpointStatus.DAMAGED]
    assert [w.kind for w in scan.warnings] == ["bad_magic"]


@pytest.mark.parametrize("name", ["a.weights.h5", "a.keras", "a.index", "ckpt-1.index"])
def test_fifos_are_refused(tmp_path: Path, name: str) -> None:
    if name == "ckpt-1.index":
        copy(tmp_path, "ckpt-1")
        (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    scan = read_checkpoints(Directory(tmp_path))
    if name != "a.index":
        assert "not_regular" in [w.kind for w in scan.warnings]
    assert scan.checkpoints == ()


def test_a_fifo_for_a_shard(tmp_path: Path) -> None:
    copy(tmp_path, "ckpt-1")
    shard = tmp_path / "ckpt-1.data-00000-of-00001"
    shard.unlink()
    os.mkfifo(shard)
    scan = read_checkpoints(Directory(tmp_path))
    assert [c.status for c in scan.checkpoints] == [CheckpointStatus.DAMAGED]
    assert {i.state for i in scan.inputs} == {InputState.COMPLETE, InputState.DENIED}


def test_unreadable_files_are_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy(tmp_path, "ckpt-1")
    (tmp_path / "a.keras").write_bytes(b"x")
    real = os.open

    def deny(path: str | Path, flags: int, *rest: int) -> int:
        if Path(path).suffix in (".keras", ".index"):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *rest)

    monkeypatch.setattr("forensics.sources.storage.local_file.os.open", deny)
    scan = read_checkpoints(Directory(tmp_path))
    assert scan.checkpoints == ()
    assert {w.kind for w in scan.warnings} == {"denied"}
    assert {i.path for i in scan.inputs if i.state is InputState.DENIED} == {
        "a.keras", "ckpt-1.index",
    }  # fmt: skip


def test_an_error_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy(tmp_path, "ckpt-1")

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("forensics.sources.storage.local_file.os.pread", fail)
    scan = read_checkpoints(Directory(tmp_path))
    assert scan.checkpoints == ()
    assert "Input/output error" in scan.warnings[0].detail


def test_links_between_directories_end(tmp_path: Path) -> None:
    copy(tmp_path / "run", "ckpt-1")
    (tmp_path / "run" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert len(read_checkpoints(Directory(tmp_path)).checkpoints) == 1


def test_large_files_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy(tmp_path, "ckpt-1")
    whole = read_checkpoints(Directory(tmp_path))
    index = (tmp_path / "ckpt-1.index").stat().st_size
    monkeypatch.setattr(blob, "IN_MEMORY", index)
    assert read_checkpoints(Directory(tmp_path)) == whole


def test_a_file_that_grows_is_live(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    with LocalFile(path, "x") as opened:
        path.write_bytes(b"abcdef")
        assert opened.record("k", InputState.COMPLETE).state is InputState.LIVE


def test_neither_tensorflow_nor_h5py_is_imported_for_a_bundle() -> None:
    code = (
        "import sys\n"
        "from forensics.sources.checkpoints.scan import read_checkpoints\n"
        "from forensics.sources.storage.place import Directory\n"
        f"assert read_checkpoints(Directory({str(ADAM)!r})).checkpoints\n"
        "assert not {'tensorflow', 'keras', 'h5py', 'pandas', 'numba'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=DATA.parents[2])
