"""What only libhdf5 can decode: its bytes come through a wall, and its death is a finding."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from forensics.domain.run import CheckpointStatus
from forensics.errors import Damaged
from forensics.sources.checkpoints.hdf5 import wall
from forensics.sources.checkpoints.scan import read_checkpoints
from forensics.sources.storage.place import Directory
from tests.sources_checkpoints.test_hdf5_reader import equal, read, written

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the wall is for POSIX")
A = np.random.default_rng(0).normal(size=(70, 90)).astype("f4")

STUB = """
import os, socket, struct, sys, time
door = socket.socket(fileno=0)
door.sendall(b"r")
while True:
    first, lent, _, _ = socket.recv_fds(door, 4, 2)
    if not first:
        break
    door.recv(struct.unpack("<I", first)[0])
    if os.fork() == 0:
        os.write(lent[1], struct.pack("<q", os.getpid()) + b"x" * 1000)
        {what}
        os._exit(0)
    os.close(lent[0]); os.close(lent[1])
"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    wall._end()
    yield
    wall._end()


def fill(file: h5py.File) -> None:
    file.create_dataset("layers/a/vars/0", data=A, chunks=(9, 20), compression="lzf", shuffle=True)
    file.create_dataset("layers/a/vars/1", data=A, chunks=(70, 90), scaleoffset=3)
    numbers = (A * 1000).astype("i8")
    file.create_dataset("layers/a/vars/2", data=numbers, chunks=(9, 20), scaleoffset=0)
    file.create_dataset("layers/a/vars/3", data=A.astype(">f8"), chunks=(8, 8), compression="lzf")
    file["layers/a/vars/4"] = A


@pytest.mark.parametrize("versions", ["earliest", "latest"])
def test_equal_to_libhdf5(versions: Any) -> None:
    content = equal(written(fill, libver=versions))
    assert len(content.tensors) == 5


def test_of_a_file_on_a_disk(tmp_path: Path) -> None:
    (tmp_path / "a.weights.h5").write_bytes(written(fill))
    scan = read_checkpoints(Directory(tmp_path))
    assert scan.warnings == ()
    assert scan.checkpoints[0].tensors[0].mean == pytest.approx(A.astype("f8").mean())


def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    path = tmp_path / "stub.py"
    path.write_text(STUB.replace("{what}", what))
    monkeypatch.setattr(wall, "_WORKER", path)
    monkeypatch.setattr(wall, "_PATIENCE", 0.5)


@pytest.mark.parametrize(
    ("what", "says"),
    [("os.kill(os.getpid(), 11)", "died on it"), ("time.sleep(60)", "hung on it"),
     ("pass", "died on it, or gave up, after 0 bytes")],
)  # fmt: skip
def test_death_is_a_finding_and_the_next_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, says: str
) -> None:
    stub(tmp_path, monkeypatch, what)
    (tmp_path / "a.weights.h5").write_bytes(written(fill))
    (tmp_path / "b.weights.h5").write_bytes(written(lambda f: f.create_dataset("x", data=A)))
    scan = read_checkpoints(Directory(tmp_path))
    first, second = sorted(scan.checkpoints, key=lambda c: c.path)
    assert [w.kind for w in scan.warnings] == ["reader_died"] * 4
    assert says in scan.warnings[0].detail
    assert [t.name for t in first.tensors] == ["layers/a/vars/4"]
    assert (first.status, second.status) == (CheckpointStatus.DAMAGED, CheckpointStatus.CLEAN)


def test_a_server_that_died_is_replaced() -> None:
    data = written(fill)
    (tensor, *_) = read(data).tensors
    wanted = b"".join(map(bytes, tensor.pieces()))
    wall._running[0]._process.kill()
    wall._running[0]._process.wait()
    assert b"".join(map(bytes, tensor.pieces())) == wanted


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "stub.py"
    path.write_text("import no_such_module")
    monkeypatch.setattr(wall, "_WORKER", path)
    with pytest.raises(Damaged) as error:
        list(read(written(fill)).tensors[0].pieces())
    assert error.value.kind == "unsupported"


def test_a_reader_that_stops_early_leaves_nothing_behind() -> None:
    pieces = read(written(fill)).tensors[0].pieces()
    next(pieces)
    before = len(list(Path("/dev/fd").iterdir()))
    pieces.close()  # type: ignore[attr-defined]
    assert len(list(Path("/dev/fd").iterdir())) < before


def test_mutants_of_chunks_harm_nobody() -> None:
    """Whatever libhdf5 makes of damaged chunks, it is bytes, or a finding."""
    data = written(lambda f: f.create_dataset("x", data=A, chunks=(35, 45), compression="lzf"))
    with h5py.File(io.BytesIO(data)) as file:
        start = file["x"].id.get_chunk_info(0).byte_offset
    for index in range(10):
        copy = bytearray(data)
        copy[start + 37 * index : start + 37 * index + 8] = b"\xff" * 8
        try:
            found = b"".join(map(bytes, read(bytes(copy)).tensors[0].pieces()))
        except Damaged as error:
            assert error.kind == "reader_died"
        else:
            assert len(found) == A.nbytes


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock is of Linux")
def test_no_file_can_be_opened() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import decode_worker\n"
        "decode_worker._confine()\n"
        "try:\n    open('/etc/passwd')\nexcept PermissionError:\n    print('denied')\n"
        "else:\n    print('open')\n"
    )
    folder = str(wall._WORKER.parent)
    done = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
    )
    from forensics.replay.sandbox.landlock import version

    assert done.stdout.strip() == ("denied" if version() else "open")
