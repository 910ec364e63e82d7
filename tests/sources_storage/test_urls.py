from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forensics import analyze, read
from forensics.errors import NothingToAnalyze, UsageError
from forensics.sources.storage.filesystems import split_url
from forensics.sources.storage.locate import is_remote, locate, place_at, shown
from forensics.sources.storage.remote_errors import as_os_error, reason, without_secrets
from tests.sources import event_writer as ew
from tests.sources_storage.test_s3 import ARCHIVES, BUNDLES, scrubbed

CURVE = [3.0, 2.0, 1.0]


@pytest.fixture
def memory() -> Iterator[Any]:
    """The filesystem behind ``memory://``, empty."""
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield MemoryFileSystem()
    MemoryFileSystem.store.clear()


@pytest.mark.parametrize("root", [BUNDLES, ARCHIVES])
def test_memory_holds_the_same_as_a_disk(memory: Any, root: Path) -> None:
    for file in root.rglob("*"):
        if file.is_file():
            memory.pipe_file(f"/run/{file.relative_to(root).as_posix()}", file.read_bytes())
    assert scrubbed(analyze("memory://run").to_dict()) == scrubbed(analyze(root).to_dict())


def test_the_root_of_a_store(memory: Any, tmp_path: Path) -> None:
    memory.pipe_file("/a/1.tfevents", ew.write(tmp_path, ew.scalars("loss", CURVE)).read_bytes())
    run = read("memory://")
    assert [i.path for i in run.inputs] == ["a/1.tfevents"]
    with place_at("memory://").open("a/1.tfevents") as blob:
        assert blob.size == run.inputs[0].bytes


def test_file_urls_are_directories(tmp_path: Path) -> None:
    path = ew.write(tmp_path / "logs", ew.scalars("loss", CURVE))
    place, name = locate(f"file://{tmp_path}/logs")
    assert (place.local, name) == (tmp_path / "logs", None)
    assert read(f"file://{path}").name == path.name
    assert not is_remote(f"file://{path}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/run", ("s3", "bucket/run")),
        ("S3A://bucket/run", ("s3", "bucket/run")),
        ("gcs://bucket/run", ("gs", "bucket/run")),
        (str(Path("s3://bucket/run")), ("s3", "bucket/run")),
        ("runs/s3:/x", None),
        ("lr:/0.1", None),
        ("/data/run", None),
        ("c:run", None),
    ],
)
def test_urls_are_told_from_paths(text: str, expected: tuple[str, str] | None) -> None:
    assert split_url(text) == expected


def test_a_folder_that_looks_like_a_url_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ew.write(Path("s3:/bucket/run"), ew.scalars("loss", CURVE))
    assert not is_remote("s3:/bucket/run")
    assert len(read("s3://bucket/run").series) == 1


def test_an_unknown_scheme_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"ftp:// is not read.*s3://, gs://, hf://"):
        read("ftp://host/run")


def test_chained_urls_are_not_followed() -> None:
    with pytest.raises(UsageError):
        read("simplecache::memory://run")


@pytest.mark.parametrize(
    ("url", "package", "install"),
    [
        ("s3://bucket/run", "s3fs", "tf-forensics[s3]"),
        ("gs://bucket/run", "gcsfs", "tf-forensics[gs]"),
        ("hf://user/run", "huggingface_hub", "tf-forensics[hf]"),
    ],
)
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, url: str, package: str, install: str
) -> None:
    def missing(scheme: str) -> None:
        raise ImportError(f"Install it to access {scheme}")

    monkeypatch.setattr("fsspec.get_filesystem_class", missing)
    with pytest.raises(UsageError) as caught:
        read(url)
    assert f"needs {package}" in str(caught.value)
    assert f"pip install '{install}'" in str(caught.value)


@pytest.mark.parametrize("url", ["s3://key:hunter2@bucket/run", "https://me:hunter2@127.0.0.1:1/x"])
def test_passwords_in_urls_are_not_repeated(url: str) -> None:
    with pytest.raises((UsageError, NothingToAnalyze)) as caught:
        read(url)
    assert "hunter2" not in str(caught.value)


def test_signed_urls_are_shown_without_their_signature() -> None:
    with pytest.raises(NothingToAnalyze) as caught:
        read("https://127.0.0.1:1/run/1.tfevents?X-Amz-Signature=abc#x")
    assert str(caught.value).startswith("https://127.0.0.1:1/run/1.tfevents: the server cannot be")
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:pw@host/a/?sig=hunter2#x", "https://host/a"),
        ("s3a://bucket/run/", "s3://bucket/run"),
        ("runs/x?y", "runs/x?y"),
    ],
)
def test_what_is_shown_of_a_url(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "GET https://host/a?X-Amz-Signature=hunter2&x=1 failed",
        "https://me:hunter2@host/a",
        "Authorization: Bearer hunter2",
        "secret=hunter2 is wrong",
        "403, url=URL('https://h/a?sig=hunter2')",
    ],
)
def test_messages_hold_no_secrets(text: str) -> None:
    assert "hunter2" not in without_secrets(text)


def test_reasons_are_one_line_and_short() -> None:
    assert reason(ValueError("a\nb\x0b" + "c" * 999)).startswith("ValueError: a b")
    assert len(reason(ValueError("a\n" + "c" * 999))) < 250
    assert reason(KeyError()) == "KeyError"
    assert isinstance(as_os_error(FileNotFoundError("x")), FileNotFoundError)
    assert as_os_error(ValueError("x")).strerror == "ValueError: x"
