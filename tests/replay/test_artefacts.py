"""What the parent takes of the files that a child leaves, and what it does not."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from forensics.domain.replay import ReplayResult, ReplayStatus
from forensics.replay import artefacts
from forensics.replay.artefacts import with_reproducer

SCRIPT = "import sys\n"
WITH_DATA = """\
import numpy as np
from pathlib import Path
with np.load(Path(__file__).with_name("reproducer.npz")) as file:
    data = dict(file)
"""


def result(text: str | None) -> ReplayResult:
    return ReplayResult(
        ReplayStatus.REPRODUCED, "", step=1, reproducer="/etc/passwd", reproducer_script=text
    )


@pytest.fixture
def private(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("private")


def test_a_script_is_written_from_the_answer_and_its_path_is_said(
    private: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (private / "reproducer.py").write_text("import os  # another text than in the report")
    (private / "other.txt").write_text("not asked for")
    monkeypatch.chdir(tmp_path)
    kept = with_reproducer(result(SCRIPT), private, Path("out/deep"))
    assert kept.reproducer == os.path.join("out", "deep", "reproducer.py")  # noqa: PTH118
    assert (tmp_path / kept.reproducer).read_text() == SCRIPT
    assert [p.name for p in (tmp_path / "out" / "deep").iterdir()] == ["reproducer.py"]


def test_without_a_folder_or_a_script_nothing_is_kept(private: Path, tmp_path: Path) -> None:
    assert with_reproducer(result(SCRIPT), private, None).reproducer is None
    assert with_reproducer(result(None), private, tmp_path / "out").reproducer is None
    assert with_reproducer(result(SCRIPT), private, None).reason == ""
    assert "--reproducer DIR" in with_reproducer(result(WITH_DATA), private, None).reason
    assert not (tmp_path / "out").exists()


def test_data_come_with_a_script_that_reads_them(private: Path, tmp_path: Path) -> None:
    np.savez_compressed(private / "reproducer.npz", x=np.arange(3))
    kept = with_reproducer(result(WITH_DATA), private, tmp_path)
    assert kept.reproducer == str(tmp_path / "reproducer.py")
    with np.load(tmp_path / "reproducer.npz") as data:
        assert data["x"].tolist() == [0, 1, 2]
    assert with_reproducer(result(SCRIPT), private, tmp_path / "two").reproducer is not None
    assert not (tmp_path / "two" / "reproducer.npz").exists()


def refused(private: Path, tmp_path: Path) -> str:
    kept = with_reproducer(result(WITH_DATA), private, tmp_path / "out")
    assert kept.reproducer is None
    assert kept.reproducer_script == WITH_DATA
    assert not (tmp_path / "out" / "reproducer.py").exists()
    return kept.reason


def test_links_and_what_is_no_plain_archive_are_refused(
    private: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, secret = private / "reproducer.npz", tmp_path / "secret.npz"
    assert "could not be kept" in refused(private, tmp_path)
    np.savez(secret, x=np.arange(3))
    data.symlink_to(secret)
    assert "could not be kept" in refused(private, tmp_path)
    data.unlink()
    data.write_bytes(b"not an archive")
    assert "no npz file" in refused(private, tmp_path)
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("../x.npy", b"")
    assert "which is no array" in refused(private, tmp_path)
    np.savez(data, x=np.zeros(1000))
    monkeypatch.setattr(artefacts, "MAX_UNPACKED", 100)
    assert "unpacks to more than" in refused(private, tmp_path)
    monkeypatch.setattr(artefacts, "MAX_BYTES", 100)
    assert "larger than" in refused(private, tmp_path)
    data.unlink()
    os.mkfifo(data)
    assert "no regular file" in refused(private, tmp_path)


def test_a_link_in_the_place_of_the_script_is_replaced_not_followed(
    private: Path, tmp_path: Path
) -> None:
    precious, out = tmp_path / "precious.py", tmp_path / "out"
    precious.write_text("precious")
    out.mkdir()
    (out / "reproducer.py").symlink_to(precious)
    with_reproducer(result(SCRIPT), private, out)
    assert precious.read_text() == "precious"
    assert not (out / "reproducer.py").is_symlink()
    assert (out / "reproducer.py").read_text() == SCRIPT


def test_a_folder_that_cannot_be_made_is_said(private: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = with_reproducer(result(SCRIPT), private, tmp_path / "file" / "out")
    assert kept.reproducer is None
    assert "could not be kept" in kept.reason


def test_a_script_that_does_anything_else_is_dropped_from_the_report_too(
    private: Path, tmp_path: Path
) -> None:
    kept = with_reproducer(result("import os\nos.system('true')\n"), private, tmp_path / "out")
    assert (kept.reproducer, kept.reproducer_script) == (None, None)
    assert "was dropped: line 1 is nothing that a reproducer needs" in kept.reason
    assert not (tmp_path / "out").exists()
