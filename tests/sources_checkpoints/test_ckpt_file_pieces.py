"""Tensors of large local files, read into buffers that are used again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forensics.domain.run import CheckpointStatus, InputState
from forensics.errors import Damaged
from forensics.sources.checkpoints import file_pieces, stored_tensor
from forensics.sources.checkpoints.scan import CheckpointScan, read_checkpoints
from forensics.sources.storage.place import Directory
from tests.sources_checkpoints.bundles import SHARD, write_bundle

TENSORS = {
    "large": np.random.default_rng(1).normal(size=700_001).astype(np.float32),
    "little": np.arange(5.0),
    "nothing": np.zeros((0, 3), np.float32),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "ckpt-3", TENSORS)
    assert (tmp_path / f"ckpt-3{SHARD}").stat().st_size > file_pieces._HELD
    return tmp_path


def scan(root: Path) -> CheckpointScan:
    return read_checkpoints(Directory(root))


def test_pieces_are_the_bytes_and_no_buffer_is_lost(root: Path) -> None:
    whole = (root / f"ckpt-3{SHARD}").read_bytes()
    idle = len(file_pieces._IDLE)
    with Directory(root).open(f"ckpt-3{SHARD}") as blob:
        for offset, size in ((0, len(whole)), (3, 1 << 20), (len(whole), 0), (7, 70_000)):
            pieces = [bytes(p) for p in file_pieces.file_pieces(blob, offset, size)]
            assert b"".join(pieces) == whole[offset : offset + size]
            assert max(map(len, pieces), default=0) <= stored_tensor.PIECE
        started = file_pieces.file_pieces(blob, 0, len(whole))
        next(started)
        started.close()
    assert len(file_pieces._IDLE) <= idle + 1


@pytest.mark.parametrize(("offset", "size"), [(0, 1 << 40), (-1, 10), (1 << 40, 4)])
def test_what_is_not_there_is_not_read(root: Path, offset: int, size: int) -> None:
    with Directory(root).open(f"ckpt-3{SHARD}") as blob, pytest.raises(Damaged) as raised:
        list(file_pieces.file_pieces(blob, offset, size))
    assert raised.value.kind == "out_of_range"


def test_short_reads_do_not_change_anything(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = scan(root)
    real = os.preadv

    def short(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        return real(descriptor, [buffers[0][: max(1, len(buffers[0]) // 3)]], offset)

    monkeypatch.setattr("forensics.sources.checkpoints.file_pieces.os.preadv", short)
    assert scan(root) == expected


@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_a_read_error_costs_one_tensor(
    root: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    real, calls = os.preadv, iter(range(100))

    def fail(*arguments: Any) -> int:
        if next(calls) == fails_at:
            raise OSError(5, "Input/output error")
        return real(*arguments)

    monkeypatch.setattr("forensics.sources.checkpoints.file_pieces.os.preadv", fail)
    found = scan(root)
    (checkpoint,) = found.checkpoints
    assert checkpoint.status is CheckpointStatus.DAMAGED
    assert [t.name for t in checkpoint.tensors] == ["little", "nothing"]
    (warning,) = found.warnings
    assert (warning.kind, warning.path) == ("read_error", f"ckpt-3{SHARD}")
    assert "Input/output error" in warning.detail


def test_a_file_that_shrinks_meanwhile(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapped file would have ended the process here."""
    shard, real = root / f"ckpt-3{SHARD}", os.preadv

    def meanwhile(*arguments: Any) -> int:
        os.truncate(shard, 1_500_000)
        return real(*arguments)

    monkeypatch.setattr("forensics.sources.checkpoints.file_pieces.os.preadv", meanwhile)
    found = scan(root)
    assert [c.status for c in found.checkpoints] == [CheckpointStatus.DAMAGED]
    assert "truncated" in [w.kind for w in found.warnings]
    assert InputState.LIVE in [i.state for i in found.inputs]


def test_threads_give_what_one_gives(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = scan(root)
    monkeypatch.setattr("forensics.sources.checkpoints.summarise._LARGE", 1)
    monkeypatch.setattr("forensics.sources.checkpoints.checkpoint_format._LARGE", 1)
    monkeypatch.setattr("forensics.sources.checkpoints.summarise.os.cpu_count", lambda: 3)
    assert scan(root) == alone
