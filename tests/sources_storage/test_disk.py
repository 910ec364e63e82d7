"""What a disk puts in the way of a reader, and runs that are being written."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from forensics import analyze, read
from forensics.cli.main import main
from forensics.domain.run import InputState
from forensics.errors import NothingToAnalyze
from forensics.sources.storage import walk
from forensics.sources.storage.local_file import LocalFile
from forensics.sources.storage.place import Directory
from tests.sources import event_writer as ew
from tests.sources_storage.test_s3 import BUNDLES

CURVE = [3.0, 2.0, 1.0]


def test_what_is_no_file_is_refused_and_the_rest_read(tmp_path: Path) -> None:
    ew.write(tmp_path, ew.scalars("loss", CURVE))
    os.mkfifo(tmp_path / "a.tfevents.fifo")
    os.mkfifo(tmp_path / "model.keras")
    os.mkfifo(tmp_path / "ckpt.index")
    os.mkfifo(tmp_path / "log.csv")
    (tmp_path / "b.tfevents.device").symlink_to("/dev/zero")
    (tmp_path / "c.tfevents.loop").symlink_to(tmp_path / "c.tfevents.loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "d.tfevents.socket"))
        run = read(tmp_path)
    assert [s.values.tolist() for s in run.series] == [CURVE]
    denied = {i.path for i in run.inputs if i.state is InputState.DENIED}
    assert {p for p in denied if "tfevents" in p} == {
        "a.tfevents.fifo", "b.tfevents.device", "c.tfevents.loop", "d.tfevents.socket",
    }  # fmt: skip
    assert {"model.keras", "log.csv"} <= denied


@pytest.mark.parametrize(
    "name", [b"caf\xe9", b"a\nb", b"\x1b[31mred", b"x" * 240, "данные".encode(), b" ", b"a\\b"]
)
def test_odd_names_of_folders(tmp_path: Path, name: bytes) -> None:
    folder = os.fsencode(tmp_path) + b"/" + name
    os.mkdir(folder)  # noqa: PTH102 - a Path of bytes there is not
    written = ew.write(tmp_path, ew.scalars("loss", CURVE))
    os.rename(os.fsencode(written), folder + b"/1.tfevents")  # noqa: PTH104
    for source in BUNDLES.joinpath("checkpoints").iterdir():
        with open(folder + b"/" + os.fsencode(source.name), "wb") as file:  # noqa: PTH123
            file.write(source.read_bytes())
    document = analyze(tmp_path).to_dict()
    shown = name.decode("utf-8", "backslashreplace")
    assert [s["writer"] for s in document["series"]] == [shown]
    assert {i["path"].rpartition("/")[0] for i in document["inputs"]} == {shown}
    assert {i["state"] for i in document["inputs"]} == {"complete"}
    assert len(document["checkpoints"]) == 6
    json.dumps(document).encode()


def test_names_that_are_no_utf_8_stay_apart(tmp_path: Path) -> None:
    names = [b"\xe9.tfevents", b"\\xe9.tfevents", b"\xe8.tfevents"]
    for raw in names:
        with open(os.fsencode(tmp_path) + b"/" + raw, "wb") as file:  # noqa: PTH123
            file.write(raw)
    place = Directory(tmp_path)
    found = {}
    for name in place.survey().events:
        with place.open(name) as blob:
            found[name] = blob.head(99)
        path = place.path(name)
        assert path is not None
        assert path.read_bytes() == found[name]
    assert found == {
        "\\xe9.tfevents": names[1], "\\xe9.tfevents'": names[0], "\\xe8.tfevents": names[2],
    }  # fmt: skip


def test_the_command_prints_odd_names(tmp_path: Path) -> None:
    path = ew.write(tmp_path, ew.scalars("loss", CURVE)[:-3])
    path.rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b[31m\n.tfevents"))
    for form in ("json", "text", "markdown"):
        told = CliRunner().invoke(main, ["analyze", str(tmp_path), "--format", form])
        assert told.exit_code == 0, told.output
        assert b"\x1b" not in told.stdout_bytes
        assert b"\\xff" in told.stdout_bytes or form != "json"
        told.stdout_bytes.decode()


def test_roots_of_all_kinds_are_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ew.write(tmp_path / "run/train", ew.scalars("loss", CURVE))
    (tmp_path / "link").symlink_to("run", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = [i.path for i in read(tmp_path / "run").inputs]
    for root in ("run", "run/", "./run//", "link", "run/../run", "~/run", f"{tmp_path}/run/"):
        run = read(root)
        assert [i.path for i in run.inputs] == expected
        assert run.name == "run"
    monkeypatch.chdir(tmp_path / "run")
    assert read(".").name == "run"


def test_a_folder_called_tilde_comes_before_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ew.write(Path("~"), ew.scalars("loss", CURVE))
    assert read("~").root == "~"


@pytest.mark.parametrize("kind", ["missing", "fifo", "loop", "dangling", "text", "slash", "empty"])
def test_roots_that_hold_nothing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "dangling":
        path.symlink_to(tmp_path / "y")
    elif kind in ("text", "slash"):
        path.write_text("no event")
    with pytest.raises(NothingToAnalyze):
        read(f"{path}/" if kind == "slash" else "" if kind == "empty" else path)


@pytest.mark.parametrize(
    ("number", "said"), [(errno.EACCES, "Permission denied"), (errno.ESTALE, "Stale file handle")]
)
def test_a_root_that_cannot_be_looked_at_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def refuse(*_: object) -> os.stat_result:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("forensics.sources.storage.locate.os.lstat", refuse)
    with pytest.raises(NothingToAnalyze, match=f"cannot be read: {said}"):
        read(tmp_path / "run")


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "~nobody-of-this-name/run"])
def test_paths_that_cannot_be(path: str) -> None:
    with pytest.raises(NothingToAnalyze):
        read(path)


def test_a_cap_on_files_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(5):
        ew.write(tmp_path / str(index), ew.scalars("loss", CURVE))
    monkeypatch.setattr(walk, "MAX_FILES", 3)
    run = read(tmp_path)
    assert [(w.path, w.kind) for w in run.warnings] == [("3", "limit")]
    assert [i.path for i in run.inputs if i.state is InputState.LIMIT] == ["3"]
    assert len(run.series) == 3


@pytest.mark.parametrize("change", ["append", "truncate", "rewrite", "touch"])
def test_a_file_that_changes_while_it_is_open_is_live(tmp_path: Path, change: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    os.utime(path, ns=(1, 1))
    with LocalFile(path, "x") as blob:
        assert not blob.changed
        assert bytes(blob.read(0, 4)) == b"0123"
        if change == "append":
            with path.open("ab") as file:
                file.write(b"more")
        elif change == "truncate":
            os.truncate(path, 3)
        elif change == "rewrite":
            path.write_bytes(b"9876543210")
        else:
            path.touch()
        assert blob.record("k", InputState.DAMAGED).state is InputState.LIVE
        # what was read is what is hashed
        assert bytes(blob.read(0, 10)) == b"0123456789"


def test_a_file_that_is_replaced_is_read_as_it_was(tmp_path: Path) -> None:
    path, other = tmp_path / "x", tmp_path / "y"
    path.write_bytes(b"old")
    other.write_bytes(b"newer")
    with LocalFile(path, "x") as blob:
        other.rename(path)
        assert bytes(blob.read(0, 3)) == b"old"
        assert blob.record("k", InputState.COMPLETE).state is InputState.COMPLETE


def test_the_beginning_of_a_file_does_not_cost_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.truncate(50 << 20)
    with LocalFile(path, "x") as blob:
        assert blob.head(16) == bytes(16)
        assert blob._whole is None


def test_nothing_heavy_is_imported_for_a_run_on_a_disk() -> None:
    code = (
        "import sys, forensics\n"
        f"forensics.analyze({str(BUNDLES)!r})\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'scipy', 'numba', 'jinja2', 'rich', 'h5py',\n"
        "         'fsspec', 's3fs', 'asyncio', 'concurrent.futures', 'multiprocessing'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
